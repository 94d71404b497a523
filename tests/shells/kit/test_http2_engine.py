"""The HTTP/2 engine without a socket: against h2's client as the reference, and against any bytes in any pieces."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events
import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.kit.http2 import frames, heads
from wakeful.kit.http2.connection import Connection
from wakeful.kit.http2.frames import WireError
from wakeful.kit.http2.heads import Decoder, Fields, MalformedError, RequestHead
from wakeful.kit.http2.limits import Limits
from wakeful.kit.http2.stream import Buffer, Stream

FIELDS = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "m"), ("te", "trailers")]
ENDING = heads.encode([("grpc-status", "0")])
OK = heads.encode([(":status", "200"), ("x-long", "v" * 200)])


class Echo(Stream):
    """Answers its body, with trailers."""

    def __init__(self, connection: Connection, number: int, head: RequestHead) -> None:
        super().__init__(connection, number, head)
        self.body = bytearray()
        self.lost: int | None = None
        self.trailers: Fields = []

    def on_data(self, data: Buffer) -> None:
        self.body += data
        self.consumed(len(data))

    def on_end(self, trailers: Fields) -> None:
        self.trailers = trailers
        self.start(OK)
        self.write(bytes(self.body))
        self.finish(ENDING)

    def on_lost(self, code: int) -> None:
        self.lost = code


class Server:
    """The engine and all streams it made."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.made: list[Echo] = []
        self.connection = Connection(limits or Limits(), self._open, lambda: None)
        self.connection.greet()

    def _open(self, connection: Connection, number: int, head: RequestHead) -> Stream:
        self.made.append(Echo(connection, number, head))
        return self.made[-1]

    def receive(self, data: bytes) -> bytes:
        self.connection.receive(data)
        return self.take()

    def take(self) -> bytes:
        out = b"".join(self.connection.take())
        while self.connection.has_more:
            self.connection.push_blocked()
            out += b"".join(self.connection.take())
        return out


def client() -> Any:
    made = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    made.initiate_connection()
    return made


def talk(server: Server, peer: Any) -> list[Any]:
    """Bytes to and fro until both are silent; the client's events."""
    events: list[Any] = []
    data = server.take()
    while True:
        for event in peer.receive_data(data):
            events.append(event)
            if isinstance(event, h2.events.DataReceived):
                peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        sent = peer.data_to_send()
        if not sent:
            return events
        data = server.receive(sent)


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_535, 400_000])
def test_bodies_of_every_size_come_back(size: int) -> None:
    server, peer = Server(), client()
    events = talk(server, peer)
    peer.send_headers(1, FIELDS)
    body = bytes(n % 251 for n in range(size))
    left = body
    while left:
        room = min(peer.local_flow_control_window(1), peer.max_outbound_frame_size)
        peer.send_data(1, left[:room])
        left = left[room:]
        events += talk(server, peer)
    peer.send_headers(1, [("x-check", "done")], end_stream=True)
    events += talk(server, peer)
    got = b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived))
    trailers = next(e for e in events if isinstance(e, h2.events.TrailersReceived))
    assert got == body and ("grpc-status", "0") in trailers.headers
    assert server.made[0].trailers == [("x-check", "done")]
    assert not server.connection.streams and server.connection.pending_bytes == 0


def test_streams_share_the_connection_in_turns() -> None:
    server, peer = Server(), client()
    peer.increment_flow_control_window(1 << 24)
    peer.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 22})
    talk(server, peer)
    for number in (1, 3, 5):
        peer.send_headers(number, FIELDS)
        for _ in range(3):
            for _ in range(4):
                peer.send_data(number, bytes(10_000))
        peer.end_stream(number)
    events = talk(server, peer)
    sizes = dict.fromkeys((1, 3, 5), 0)
    for event in events:
        if isinstance(event, h2.events.DataReceived):
            sizes[event.stream_id] += len(event.data)
    assert set(sizes.values()) == {120_000}


def test_padding_and_priority_are_taken_off() -> None:
    server, peer = Server(), client()
    peer.send_headers(1, FIELDS, priority_weight=16, priority_depends_on=0)
    peer.send_data(1, b"abc", end_stream=True, pad_length=100)
    events = talk(server, peer)
    assert b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived)) == b"abc"


def test_repeated_heads_are_decoded_once_and_changes_are_seen() -> None:
    encoder, decoder = hpack.Encoder(), Decoder(65_536)
    pairs = [(n.encode(), v.encode()) for n, v in FIELDS]
    decoder.request(encoder.encode(pairs))
    block = encoder.encode(pairs)
    first = decoder.request(block)
    assert decoder.request(encoder.encode(pairs)) is first
    changed = decoder.request(encoder.encode([*pairs, (b"x-a", b"1")]))
    assert changed.fields[-2:] == [("x-a", "1"), ("host", "m")] and changed is not first
    assert decoder.request(encoder.encode(pairs)).fields == first.fields
    assert decoder.request(encoder.encode([*pairs, (b"x-a", b"1")])).fields == changed.fields


@settings(max_examples=25)
@given(st.data())
def test_the_kept_heads_are_those_that_hpack_decodes(data: st.DataObject) -> None:
    """Any mix of indexed and literal fields and table sizes: our decoder and a plain one say the same."""
    encoder, ours, plain = hpack.Encoder(), Decoder(65_536), hpack.Decoder()
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.integers(0, 5)) == 0:
            encoder.header_table_size = data.draw(st.sampled_from([0, 40, 120, 4096]))
        extra = data.draw(
            st.lists(
                st.tuples(st.sampled_from(["a", "b", "cc"]), st.sampled_from(["1", "2", "z" * 50])),
                max_size=3,
            )
        )
        block = encoder.encode([*FIELDS, *extra], huffman=data.draw(st.booleans()))
        wanted = [(n, v) for n, v in plain.decode(block) if not n.startswith(":")]
        assert ours.request(block).fields == [*wanted, ("host", "m")]


def requests_bytes() -> bytes:
    peer = client()
    for number in (1, 3):
        peer.send_headers(number, FIELDS)
        peer.send_data(number, b"hello" * 100)
        peer.send_data(number, b"", end_stream=True)
    peer.ping(b"12345678")
    return bytes(peer.data_to_send())


WHOLE = requests_bytes()


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_any_pieces_make_the_same_requests(cuts: Sequence[int]) -> None:
    server = Server()
    places = [0, *sorted(cuts), len(WHOLE)]
    out = b"".join(server.receive(WHOLE[a:b]) for a, b in itertools.pairwise(places))
    assert [bytes(s.body) for s in server.made] == [b"hello" * 100] * 2
    assert len(out) > 1_000


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5]), st.binary(max_size=60)
        ),
        max_size=20,
    )
)
def test_no_frames_do_anything_but_work_or_end_the_connection(
    given_frames: list[tuple[int, int, int, bytes]],
) -> None:
    server = Server()
    server.receive(WHOLE)
    raw = b"".join(frames.head(len(p), kind, flags, n) + p for kind, flags, n, p in given_frames)
    try:
        server.receive(raw)
    except WireError as error:
        assert error.code
    server.connection.lose_all()
    assert server.connection.pending_bytes == 0 and not server.connection.streams


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_no_block_does_anything_but_decode_or_be_refused(block: bytes) -> None:
    decoder = Decoder(4096)
    try:
        head = decoder.request(block)
    except (MalformedError, WireError):
        return
    assert head.method and head.target


def test_answers_headers_are_read_by_hpack() -> None:
    fields = [(":status", "200"), ("x", ""), ("long", "v" * 5_000), ("ä".encode().hex(), "wörter")]
    decoded = hpack.Decoder(max_header_list_size=100_000).decode(heads.encode(fields))
    assert [(n, v) for n, v in decoded] == fields
