"""The HTTP/1.1 reader under any cut of its bytes, and under rubbish: the same requests, bounded memory, no crash."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.serving.http_body import Budget
from wakeful.serving.wire.http1_reader import Reader
from wakeful.serving.wire.known_heads import KnownHeads
from wakeful.serving.wire.limits import Limits

LIMITS = Limits(head_bytes=4096, headers=32, body_bytes=20_000)

names = st.sampled_from([b"Accept", b"X-Request-Id", b"Content-Type", b"ce-id", b"Cookie", b"traceparent"])
values = st.text("abcXYZ019 ;=/*,", max_size=30).map(lambda text: text.strip().encode())
headers = st.lists(st.tuples(names, values), max_size=4)
bodies = st.one_of(st.just(b""), st.binary(max_size=40), st.binary(min_size=5000, max_size=6000))
paths = st.sampled_from([b"/", b"/v1/models/m:predict", b"/v2/models/m/infer?x=%20", b"http://h:1/v2", b"*"])
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One valid request, its body by length or in chunks."""
    body, lines = draw(bodies), [b"%b: %b\r\n" % pair for pair in draw(headers)]
    framing = draw(st.sampled_from(["length", "chunks", "upgrade"]))
    if framing == "upgrade":
        lines.append(b"Connection: Upgrade\r\nUpgrade: h2c\r\n")
    if framing != "chunks":
        lines.append(b"Content-Length: %d\r\n" % len(body))
        sent = body
    else:
        lines.append(b"Transfer-Encoding: chunked\r\n")
        cut = draw(st.integers(0, len(body)))
        pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
        sent = b"".join(b"%x;e=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nT: v\r\n\r\n"
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (draw(paths), b"".join(lines), sent)


@dataclass
class Read:
    """What a reader made of some bytes."""

    seen: list[tuple[str, str, tuple[tuple[str, str], ...], bytes, bool]] = field(default_factory=list)
    error: str = ""
    held_bytes: int = 0


def read(pieces: list[bytes], known: KnownHeads | None = None) -> Read:
    budget, found = Budget(1 << 20), Read()
    reader = Reader(LIMITS, budget, {} if known is None else known)
    for piece in pieces:
        try:
            reader.feed(piece)
        except FailureError as error:
            found.error = str(error)
            budget.release(reader.stop())
        for turn in reader.turns:
            request = turn.request
            assert request is not None
            pairs = tuple(request.headers.pairs)
            found.seen.append((request.method, request.target, pairs, request.body, turn.is_last))
            budget.release(turn.held_bytes)
        reader.turns.clear()
    budget.release(reader.close())
    found.held_bytes = budget.held_bytes
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def test_a_body_in_many_pieces_is_whole_and_its_pieces_are_kept_together() -> None:
    body = bytes(range(256)) * 70
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    known: KnownHeads = {}
    for size in (1, 3, 4095, 4096, 5000):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        mixed = [
            piece
            for pair in itertools.zip_longest(pieces[::2], pieces[1::2], fillvalue=b"")
            for piece in pair
        ]
        assert [seen[3] for seen in read(mixed, known).seen] == [body]
    reader = Reader(LIMITS, Budget(1 << 20), known)
    for at in range(len(data) - 1):
        reader.feed(data[at : at + 1])
    assert len(reader._parts) < 10


cuts = st.lists(st.integers(0, 1 << 16), max_size=12)


@settings(max_examples=300)
@given(st.lists(requests(), min_size=1, max_size=5), cuts)
def test_any_cut_gives_the_same_requests(sent: list[bytes], places: list[int]) -> None:
    data = b"".join(sent)
    whole = read([data])
    assert (len(whole.seen), whole.error, whole.held_bytes) == (len(sent), "", 0)
    assert read(cut(data, places)) == whole
    assert read(sent) == whole


def test_every_single_cut_of_two_requests() -> None:
    """The first ends and the second begins in one piece: a reader that thought itself between them would lose bytes."""
    post = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    for first in (
        post,
        GET,
        post.replace(
            b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        ),
    ):
        data = first + post
        known: KnownHeads = {}
        whole = read([data])
        assert len(whole.seen) == 2
        for place in range(1, len(data)):
            assert read([data[:place], data[place:]], known) == whole
            assert read([data[:place], data[place:], data], known).seen == whole.seen * 2


@settings(max_examples=300)
@given(st.lists(requests(), min_size=1, max_size=4), cuts, cuts)
def test_a_head_that_is_known_reads_as_one_that_is_parsed(
    sent: list[bytes], places: list[int], others: list[int]
) -> None:
    """Every connection after the first finds the heads of the first; all read the same, whatever the cuts."""
    data = b"".join([*sent, *sent])
    known: KnownHeads = {}
    for request in sent:
        read([request, request], known)
    fresh = read([data])
    assert read([data], known) == fresh
    assert read(cut(data, places), known) == fresh
    assert read(cut(data, others), known) == fresh


@settings(max_examples=400)
@given(requests(), st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=6)), max_size=3), cuts)
def test_damaged_requests_fail_cleanly_and_alike(
    sent: bytes, damage: list[tuple[int, bytes]], places: list[int]
) -> None:
    data = GET + sent
    for place, junk in damage:
        at = place % (len(data) + 1)
        data = data[:at] + junk + data[at + len(junk) :]
    whole = read([data])
    known: KnownHeads = {}
    read([GET, GET, sent, sent], known)
    for other in (read(cut(data, places)), read([data], known), read(cut(data, places), known)):
        assert [seen[:4] for seen in other.seen] == [seen[:4] for seen in whole.seen]
        assert bool(other.error) == bool(whole.error)
        assert other.held_bytes == 0


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_rubbish_never_crashes(pieces: list[bytes]) -> None:
    assert read(pieces).held_bytes == 0
