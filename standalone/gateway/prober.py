"""Ask a starting pod whether it takes requests, every 10 ms at first, so that a woken answer waits no longer than it must.

``revision`` runs one ``probe_until_ready`` per pod that is started and not known to answer. The questions are the
container's own readinessProbe (http, tcp, grpc); what only the node can run (exec, startup probes) is not asked here.
Returns with the phases that the model server reports of itself in ``Server-Timing`` of that answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from activator_hooks import timeline
from standalone.gateway.exchange import Head, PodCall, PodError
from standalone.gateway.inbox import BodyError, Headers
from standalone.gateway.pods_pool import Address, Pool
from standalone.gateway.podview import Probe
from standalone.gateway.settings import Limits

FIRST_PAUSE_S = 0.010
LAST_PAUSE_S = 0.200
EAGER_TRIES = 300
"""Questions at the first pace (3 s and more) before the pauses grow."""
GROWTH = 1.2
MINIMUM_TIMEOUT_S = 1.0
USER_AGENT = b"Knative-Activator-Probe"
ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Readiness:
    """A good answer; durations in milliseconds as the model server reports them."""

    import_ms: float = 0.0
    load_ms: float = 0.0


async def probe_until_ready(
    pool: Pool, probe: Probe, on_refusal: Callable[[str], None] | None = None
) -> Readiness:
    """Ask until the answer is good. ``on_refusal`` is told of each other answer, in a few words."""
    pause_s, tries = FIRST_PAUSE_S, 0
    while True:
        answer = await ask(pool, probe)
        if isinstance(answer, Readiness):
            return answer
        if on_refusal is not None:
            on_refusal(answer)
        tries += 1
        if tries > EAGER_TRIES:
            pause_s = min(pause_s * GROWTH, LAST_PAUSE_S)
        await asyncio.sleep(pause_s)


async def ask(pool: Pool, probe: Probe) -> Readiness | str:
    """One question; for any answer but a good one, what it was."""
    try:
        async with asyncio.timeout(max(probe.timeout_s, MINIMUM_TIMEOUT_S)):
            if probe.kind == "http":
                return await _ask_http(pool, probe)
            if probe.kind == "grpc":
                return await _ask_grpc(pool, probe)
            return await _ask_tcp(pool)
    except TimeoutError:
        return f"no answer within {max(probe.timeout_s, MINIMUM_TIMEOUT_S):g} s"
    except (PodError, BodyError) as error:
        return str(error)


async def _ask_tcp(pool: Pool) -> Readiness:
    call = await pool.call(is_h2=False)
    call.release()
    return Readiness()


async def _ask_http(pool: Pool, probe: Probe) -> Readiness | str:
    given = dict(probe.headers)
    host = given.pop(b"host", str(pool.address).partition(" ")[2].encode())
    headers = [(b"host", host), (b"user-agent", USER_AGENT), (b"accept", b"*/*"), *given.items()]
    head = Head(b"GET", probe.path.encode(), host.decode("latin-1"), [])
    call = await pool.call(is_h2=False)
    try:
        call.start(head, headers)
        call.finish(b"", [])
        answer = await call.answer()
        await _skip_body(call)
    finally:
        _end(call)
    if not 200 <= answer.status < 400:
        return f"HTTP {answer.status}"
    timings = ",".join(v.decode("latin-1") for n, v in answer.headers if n == b"server-timing")
    reported = timeline.parse_server_timing(timings) if timings else {}
    return Readiness(reported.get("import", 0.0), reported.get("load", 0.0))


async def _ask_grpc(pool: Pool, probe: Probe) -> Readiness | str:
    service = probe.service.encode()
    message = b"\x0a" + bytes([len(service)]) + service if service else b""
    frame = b"\x00" + len(message).to_bytes(4, "big") + message
    headers: Headers = [
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        (b"user-agent", USER_AGENT),
    ]
    head = Head(b"POST", b"/grpc.health.v1.Health/Check", "localhost", [], version="2", has_body=True)
    call = await pool.call(is_h2=True)
    try:
        call.start(head, headers)
        call.finish(frame, [])
        answer = await call.answer()
        body = await _skip_body(call)
    finally:
        _end(call)
    codes = [v for n, v in [*answer.headers, *call.inbox.trailers] if n == b"grpc-status"]
    is_serving = body[5:7] == b"\x08\x01"  # HealthCheckResponse.status = SERVING
    return Readiness() if codes == [b"0"] and is_serving else "the health service does not say SERVING"


async def _skip_body(call: PodCall) -> bytes:
    body = b""
    while data := await call.inbox.read():
        body += data
        if len(body) > ANSWER_BYTES:
            call.abort()
            raise PodError("the readiness answer is too long")
    return body


def _end(call: PodCall) -> None:
    with contextlib.suppress(PodError):
        call.release()


def pool_for(host: str, port: int, limits: Limits) -> Pool:
    """Connections to one port of a pod."""
    return Pool(Address(host, port), limits)
