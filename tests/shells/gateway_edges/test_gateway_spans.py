"""The gateway's spans: a child of the caller's, the parent of the pod's, with the phases of a wake."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import spans_rig
from gateway_pods import EchoPod
from gateway_world import World

from wakeful.kit import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HTTP_PROBE = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}}


async def test_a_wake_is_one_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = EchoPod()
    port = await world.serve(pod)
    world.route("m.ns.localhost", ("r1", 100))
    world.revision(container=HTTP_PROBE)
    world.waker.on_wake = lambda: world.pod(port) and None
    async with spans_rig.receiving() as (url, seen):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        tracer = tracing.from_environ({"OTEL_EXPORTER_OTLP_ENDPOINT": url}, "gateway")
        world.engine.tracer = tracer
        headers = {"Host": "m.ns.localhost", "traceparent": f"00-{TRACE}-{PARENT}-01"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{world.port}/x?secret=1", headers=headers) as answer,
        ):
            assert answer.status == 200
        assert tracer is not None
        await asyncio.to_thread(tracer.close)
    by_name = {span.name: span for span in seen}
    outer = by_name["gateway GET"]
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (TRACE, PARENT)
    assert {name for name in by_name if name.startswith("wake ")} == {
        f"wake {phase}" for phase in ("decide", "start", "import", "load", "probe", "answer")
    }
    assert all(span.parent_span_id == outer.span_id for span in seen if span is not outer)
    attributes = {item.key: item.value for item in outer.attributes}
    assert attributes["url.path"].string_value == "/x"
    assert attributes["wakeful.cold_start"].bool_value
    carried = [value for name, value in pod.requests[-1].headers if name == "traceparent"]
    assert carried == [f"00-{TRACE}-{outer.span_id.hex()}-01"]
