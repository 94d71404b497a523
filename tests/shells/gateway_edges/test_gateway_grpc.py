"""HTTP/2 without TLS: gRPC of all four kinds, from zero, interleaved with HTTP/1 on the same port; and floods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
from gateway_pods import EchoPod
from gateway_world import World
from waiting_rig import until

METADATA = (("x-one", "1"),)


class Echo(grpc.GenericRpcHandler):
    """Echoes bytes; ``/t.T/fail`` ends with a status, ``/t.T/many`` streams ten answers."""

    def __init__(self) -> None:
        self.ended = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        match details.method:
            case "/t.T/unary":
                return grpc.unary_unary_rpc_method_handler(self.unary)
            case "/t.T/fail":
                return grpc.unary_unary_rpc_method_handler(self.fail)
            case "/t.T/many":
                return grpc.unary_stream_rpc_method_handler(self.many)
            case "/t.T/bidi":
                return grpc.stream_stream_rpc_method_handler(self.bidi)
        return None

    async def unary(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        context.set_trailing_metadata([("x-trailer", dict(context.invocation_metadata()).get("x-one", ""))])
        return request

    async def fail(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no: ä")
        return b""

    async def many(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for n in range(10):
            yield request + b"%d" % n

    async def bidi(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        try:
            async for request in requests:
                yield request.upper()
        finally:
            self.ended += 1


@pytest.fixture
async def pod() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 << 20)])
    server.add_generic_rpc_handlers((echo,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield echo, port
    await server.stop(0)


@pytest.fixture
async def channel(world: World) -> AsyncIterator[grpc.aio.Channel]:
    world.route("g.ns.localhost", ("r1", 100))
    world.revision(timeoutSeconds=5)
    options = [
        ("grpc.default_authority", "g.ns.localhost"),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", 32 << 20),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.port}", options=options) as channel:
        yield channel


async def test_unary_with_metadata_and_trailers(
    world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]
) -> None:
    world.pod(pod[1])
    call = channel.unary_unary("/t.T/unary")(b"hi", metadata=METADATA)
    assert await call == b"hi"
    assert dict(await call.trailing_metadata())["x-trailer"] == "1"


async def test_first_call_from_zero(world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]) -> None:
    world.waker.on_wake = lambda: world.pod(pod[1]) and None
    call = channel.unary_unary("/t.T/unary")(b"hi", timeout=5)
    assert await call == b"hi"
    assert dict(await call.initial_metadata())["wakeful-cold-start"] == "true"


async def test_status_of_the_app_passes(
    world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]
) -> None:
    world.pod(pod[1])
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await channel.unary_unary("/t.T/fail")(b"")
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "no: ä")


async def test_server_stream_and_bidirectional_stream(
    world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]
) -> None:
    world.pod(pod[1])
    assert [m async for m in channel.unary_stream("/t.T/many")(b"x")] == [b"x%d" % n for n in range(10)]
    call = channel.stream_stream("/t.T/bidi")()
    for word in (b"a", b"b", b"c"):
        await call.write(word)
        assert await asyncio.wait_for(call.read(), 2) == word.upper()
    await call.done_writing()
    assert await call.read() == grpc.aio.EOF


@pytest.mark.parametrize("size", [100_000, 20 << 20])
async def test_big_messages_pass_flow_control(
    world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int], size: int
) -> None:
    world.pod(pod[1])
    body = b"x" * size
    assert await channel.unary_unary("/t.T/unary")(body, timeout=15) == body


async def test_many_calls_at_once(world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]) -> None:
    world.pod(pod[1])
    calls = [channel.unary_unary("/t.T/unary")(b"%d" % n, timeout=10) for n in range(300)]
    assert await asyncio.gather(*calls) == [b"%d" % n for n in range(300)]
    assert world.fleet.revisions[("ns", "r1")].hold.breaker.in_flight == 0


async def test_cancelled_call_reaches_the_pod(
    world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]
) -> None:
    world.pod(pod[1])
    call = channel.stream_stream("/t.T/bidi")()
    await call.write(b"a")
    assert await call.read() == b"A"
    call.cancel()
    await until(lambda: pod[0].ended == 1)
    await until(lambda: world.fleet.revisions[("ns", "r1")].hold.breaker.in_flight == 0)


async def test_pod_that_stops_gracefully_ends_its_calls(world: World, channel: grpc.aio.Channel) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    world.pod(port)
    call = channel.stream_stream("/t.T/bidi")()
    await call.write(b"a")
    assert await call.read() == b"A"
    stopping = asyncio.create_task(server.stop(5))
    await asyncio.sleep(0.1)  # GOAWAY has arrived; nothing that we could await tells so
    await call.write(b"b")
    assert await asyncio.wait_for(call.read(), 2) == b"B"
    await call.done_writing()
    assert await call.read() == grpc.aio.EOF
    assert await call.code() == grpc.StatusCode.OK
    await stopping


@pytest.mark.parametrize(
    ("authority", "code"),
    [
        ("nobody.ns.localhost", grpc.StatusCode.UNIMPLEMENTED),
        ("g.ns.localhost", grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
    ids=["unknown host", "no pod in time"],
)
async def test_our_own_answers_are_grpc_statuses(
    world: World, channel: grpc.aio.Channel, authority: str, code: grpc.StatusCode
) -> None:
    world.revision(timeoutSeconds=0.2)
    options = [("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.port}", options=options) as own:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await own.unary_unary("/t.T/unary")(b"", timeout=5)
    assert failure.value.code() == code
    assert failure.value.details()


async def test_pod_that_speaks_no_http2_is_unavailable(world: World, channel: grpc.aio.Channel) -> None:
    async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    world.pod(await world.serve(http1))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await channel.unary_unary("/t.T/unary")(b"", timeout=5)
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE


# ---- floods


class Attacker:
    """A hand-driven HTTP/2 client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.is_cut = False

    @classmethod
    async def open(cls, world: World) -> Attacker:
        attacker = cls(*await asyncio.open_connection("127.0.0.1", world.port))
        attacker.push()
        return attacker

    def push(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def request(self, stream: int, end: bool = True) -> None:
        pseudo = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "g.ns.localhost")]
        self.h2.send_headers(stream, pseudo, end_stream=end)

    async def until_cut(self) -> None:
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(65536), 5):
                pass
        self.is_cut = True
        self.writer.close()


@pytest.mark.parametrize(
    ("method", "length"),
    [("POST", "30"), ("GET /smuggled HTTP/1.1", "0"), ("G@T", "0")],
    ids=["announced body that never comes", "request line in the method", "no token"],
)
async def test_http2_heads_that_http1_would_misread_reach_no_pod(
    world: World, method: str, length: str
) -> None:
    pod = EchoPod()
    world.route("g.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(pod))
    await world.open_pods()
    attacker = await Attacker.open(world)
    pseudo = [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", "g.ns.localhost")]
    attacker.h2.send_headers(1, [*pseudo, ("content-length", length)], end_stream=True)
    attacker.push()
    events: list[h2.events.Event] = []
    while not any(isinstance(event, h2.events.StreamReset) for event in events):
        events += attacker.h2.receive_data(await asyncio.wait_for(attacker.reader.read(65536), 5))
    attacker.writer.close()
    assert pod.requests == []


async def test_rapid_reset_is_cut(world: World, channel: grpc.aio.Channel, pod: tuple[Echo, int]) -> None:
    attacker = await Attacker.open(world)
    for n in range(600):
        attacker.request(2 * n + 1)
        attacker.h2.reset_stream(2 * n + 1, h2.errors.ErrorCodes.CANCEL)
    attacker.push()
    await attacker.until_cut()
    await until(lambda: not world.front.tasks)
    world.pod(pod[1])
    assert await channel.unary_unary("/t.T/unary")(b"still here", timeout=5) == b"still here"


@pytest.mark.parametrize(
    "frame",
    [
        b"\0\0\x08\x06\0\0\0\0\0" + b"12345678",
        b"\0\0\x06\x04\0\0\0\0\0" + b"\0\x03\0\0\0\x64",
        b"\0\0\0\x00\0\0\0\0\x01",
    ],
    ids=["PING", "SETTINGS", "empty DATA"],
)
async def test_control_frame_floods_are_cut(world: World, channel: grpc.aio.Channel, frame: bytes) -> None:
    attacker = await Attacker.open(world)
    attacker.request(1, end=False)
    attacker.push()
    attacker.writer.write(frame * 2000)
    await attacker.until_cut()


async def test_continuation_flood_is_cut(world: World) -> None:
    attacker = await Attacker.open(world)
    attacker.writer.write(b"\0\0\x01\x01\0\0\0\0\x01\x82" + b"\0\0\x01\x09\0\0\0\0\x01\x84" * 5000)
    await attacker.until_cut()


async def test_huge_header_list_is_cut(world: World) -> None:
    attacker = await Attacker.open(world)
    literal = b"\x40\x0a" + b"custom-key" + b"\x0d" + b"custom-header"  # enters the dynamic table
    block = literal + b"\xbe" * 16_000  # then 16,000 references to it: 1 byte here, 55 bytes there
    attacker.writer.write(len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\x01" + block)
    await attacker.until_cut()


async def test_client_that_reads_nothing_holds_little(world: World, channel: grpc.aio.Channel) -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError, TimeoutError):
            while sent < 100 << 20:
                writer.write(b"x" * 65536)
                await asyncio.wait_for(writer.drain(), 0.5)
                sent += 65536
        writer.close()

    world.pod(await world.serve(flood))
    await world.open_pods()
    attacker = await Attacker.open(world)
    attacker.request(1)
    attacker.push()
    await until(lambda: sent > 0)
    last = -1
    while sent != last:
        last = sent
        await asyncio.sleep(0.2)
    assert sent < 32 << 20
    attacker.writer.transport.abort()
