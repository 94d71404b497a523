"""What passes through unchanged, what is added, what is answered by the gateway itself."""

from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest
from gateway_pods import EchoPod
from gateway_world import World


def request(
    host: str = "echo.ns.localhost", line: str = "GET / HTTP/1.1", more: str = "", body: bytes = b""
) -> bytes:
    return f"{line}\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode() + body


@pytest.fixture
async def pod(world: World) -> EchoPod:
    pod = EchoPod()
    world.route("echo.ns.localhost", ("r1", 100))
    world.revision()
    world.pod(await world.serve(pod))
    await world.open_pods()
    return pod


async def test_get_passes_with_public_host_and_forwarding_headers(world: World, pod: EchoPod) -> None:
    answer = await world.ask(request("Echo.ns.localhost:8080", "GET /a?b=c%20d HTTP/1.1", "X-One: 1\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"hello")
    (seen,) = pod.requests
    assert seen.line == "GET /a?b=c%20d HTTP/1.1"
    assert seen.get("host") == "Echo.ns.localhost:8080"
    assert seen.get("x-one") == "1"
    assert seen.get("x-forwarded-for") == "127.0.0.1"
    assert seen.get("x-forwarded-proto") == "http"
    assert seen.get("forwarded") == "for=127.0.0.1;proto=http"
    assert seen.get("knative-serving-revision") is None
    assert seen.get("connection") is None


async def test_client_cannot_speak_for_the_platform(world: World, pod: EchoPod) -> None:
    forged = "Knative-Serving-Revision: other\r\nK-Original-Host: evil\r\nK-Proxy-Request: activator\r\n"
    await world.ask(request(more=forged + "X-Forwarded-For: 10.0.0.1\r\n"))
    (seen,) = pod.requests
    assert {name for name, _ in seen.headers}.isdisjoint(
        {"knative-serving-revision", "k-original-host", "k-proxy-request"}
    )
    assert seen.get("x-forwarded-for") == "10.0.0.1, 127.0.0.1"
    assert seen.get("forwarded") == "for=10.0.0.1;proto=http, for=127.0.0.1"


async def test_headers_named_by_connection_end_here(world: World, pod: EchoPod) -> None:
    raw = b"GET / HTTP/1.1\r\nHost: echo.ns.localhost\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n"
    await world.ask(raw)
    (seen,) = pod.requests
    assert seen.get("x-hop") is None
    assert seen.get("te") == "trailers"


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_body_with_length_is_echoed(world: World, pod: EchoPod, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{world.port}/"
        async with session.post(url, data=io.BytesIO(body), headers={"Host": "echo.ns.localhost"}) as answer:
            assert await answer.read() == (body or b"hello")


async def test_one_byte_chunks_arrive_whole(world: World, pod: EchoPod) -> None:
    body = b"x" * 50_000
    raw = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    answer = await world.ask(request(line="POST / HTTP/1.1", more="Transfer-Encoding: chunked\r\n", body=raw))
    assert answer.endswith(body)


async def test_trailers_and_extensions_of_a_request(world: World, pod: EchoPod) -> None:
    raw = b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    answer = await world.ask(request(line="POST / HTTP/1.1", more="Transfer-Encoding: chunked\r\n", body=raw))
    assert answer.endswith(b"abc")


async def test_pipelined_requests_are_answered_in_order(world: World, pod: EchoPod) -> None:
    one = b"POST / HTTP/1.1\r\nHost: echo.ns.localhost\r\nContent-Length: 1\r\n\r\n"
    raw = b"".join(one + b"%d" % n for n in range(9)) + request(
        line="POST / HTTP/1.1", more="Content-Length: 1\r\n", body=b"9"
    )
    answer = await world.ask(raw)
    assert [part[-1:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]] == [b"%d" % n for n in range(10)]


async def test_expect_continue_is_answered_when_the_body_is_wanted(world: World, pod: EchoPod) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(
        b"POST / HTTP/1.1\r\nHost: echo.ns.localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ok")
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
    assert pod.requests[0].get("expect") is None
    writer.close()


async def test_head_has_no_body_and_keeps_the_connection(world: World, pod: EchoPod) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        url, headers = f"http://127.0.0.1:{world.port}/", {"Host": "echo.ns.localhost"}
        for _ in range(3):
            async with session.head(url, headers=headers) as answer:
                assert answer.headers["content-length"] == "5"
            async with session.get(url, headers=headers) as answer:
                assert await answer.read() == b"hello"


async def test_http_1_0_client_gets_a_plain_body(world: World, pod: EchoPod) -> None:
    pod.answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    answer = await world.ask(b"GET / HTTP/1.0\r\nHost: echo.ns.localhost\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in answer


async def test_answer_that_ends_by_close_is_chunked_on(world: World, pod: EchoPod) -> None:
    pod.answer = b"HTTP/1.0 200 OK\r\n\r\nabc"
    answer = await world.ask(request())
    assert answer.endswith(b"3\r\nabc\r\n0\r\n\r\n")


async def test_truncated_answer_is_visibly_truncated(world: World, pod: EchoPod) -> None:
    pod.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.get(
                f"http://127.0.0.1:{world.port}/", headers={"Host": "echo.ns.localhost"}
            ) as answer:
                await answer.read()


@pytest.mark.parametrize(
    "answer",
    [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000 + b"\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n"],
    ids=["not http", "huge head", "101 unasked"],
)
async def test_a_pod_that_breaks_http_is_a_502(world: World, pod: EchoPod, answer: bytes) -> None:
    pod.answer = answer
    assert (await world.ask(request())).startswith(b"HTTP/1.1 502 ")


async def test_unknown_host_is_a_404_that_says_so(world: World, pod: EchoPod) -> None:
    answer = await world.ask(request("nobody.ns.localhost"))
    assert answer.startswith(b"HTTP/1.1 404 Not Found")
    assert b'no route for host "nobody.ns.localhost"' in answer


async def test_cluster_local_host_is_unknown_outside(world: World, pod: EchoPod) -> None:
    world.route("inner.ns.localhost", ("r1", 100), visibility="ClusterLocal", name="a")
    world.route("inner.ns.svc.cluster.local", ("r1", 100), visibility="ClusterLocal", name="b")
    await asyncio.sleep(0)
    assert (await world.ask(request("inner.ns.localhost"))).startswith(b"HTTP/1.1 404")
    assert (await world.ask(request("inner.ns.svc.cluster.local"))).startswith(b"HTTP/1.1 200")


async def test_proxy_request_for_a_cluster_name(world: World, pod: EchoPod) -> None:
    world.route("echo.ns.svc.cluster.local", ("r1", 100), visibility="ClusterLocal", name="a")
    await asyncio.sleep(0)
    answer = await world.ask(request("ignored", "GET http://echo.ns.svc.cluster.local/x?y HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert pod.requests[0].line == "GET /x?y HTTP/1.1"
    assert pod.requests[0].get("host") == "echo.ns.svc.cluster.local"


async def test_proxy_request_for_a_host_outside(world: World) -> None:
    outside = EchoPod()
    port = await world.serve(outside)
    answer = await world.ask(request("x", f"GET http://127.0.0.1:{port}/file HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert outside.requests[0].get("via") == "1.1 wakeful"
    looped = await world.ask(request("x", f"GET http://127.0.0.1:{world.port}/ HTTP/1.1"))
    assert looped.startswith(b"HTTP/1.1 404")


async def test_deleted_revision_is_a_404_in_knatives_words(world: World) -> None:
    world.route("gone.ns.localhost", ("gone-00001", 100))
    await asyncio.sleep(0)
    answer = await world.ask(request("gone.ns.localhost"))
    assert answer.startswith(b"HTTP/1.1 404")
    assert b'revision.serving.knative.dev "gone-00001" not found' in answer


async def test_probes_are_answered_without_the_app(world: World, pod: EchoPod) -> None:
    probe = await world.ask(request(more="K-Network-Probe: probe\r\nK-Network-Hash: h1\r\n"))
    assert probe.startswith(b"HTTP/1.1 200") and b"k-network-hash: h1" in probe
    bad = await world.ask(request(more="K-Network-Probe: probe\r\n"))
    assert bad.startswith(b"HTTP/1.1 400") and b'a non-empty "K-Network-Hash" header' in bad
    health = await world.ask(request(more="User-Agent: kube-probe/1.30\r\n"))
    assert health.startswith(b"HTTP/1.1 200") and health.endswith(b"queue")
    assert (await world.ask(request(more="K-Network-Probe: nonsense\r\n"))).startswith(b"HTTP/1.1 400")
    assert pod.requests == []


async def test_broker_host_without_event_ingress_is_a_503(world: World) -> None:
    answer = await world.ask(
        request("broker-ingress.knative-eventing.svc.cluster.local", "POST /ns/b HTTP/1.1")
    )
    assert answer.startswith(b"HTTP/1.1 503") and b"event ingress" in answer
