"""Events of Serving's controllers: what ``kubectl describe`` shows below an object, in Knative's words.

Controllers call ``World.tell``, which puts into a bounded queue and never waits; ``run`` writes. An Event is told for
something that happened once (created, became ready, failed), so equal ones within ``REPEAT_S`` are left out instead of
counted. Left out: events.k8s.io series.

Invariant: memory is bounded (``QUEUE`` waiting, ``REMEMBERED`` known); when the API is away the newest are dropped,
and no controller ever fails because of an Event.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from datetime import UTC, datetime

import aiohttp

from standalone.knative.resources import KINDS
from wakeful.core.api import instants
from wakeful.kit import logs
from wakeful.kit.kube import EVENTS, ApiError, KubeClient, Obj, Resource

QUEUE = 256
REMEMBERED = 2048
REPEAT_S = 60.0
MESSAGE_LIMIT = 1024
LAG_S = 0.5
"""Events wait this long: what they tell of (a pod that a request waits for) needs the machine first."""
NORMAL, WARNING = "Normal", "Warning"


class Recorder:
    """The Events of one process."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._waiting: asyncio.Queue[Obj] = asyncio.Queue(QUEUE)
        self._log = logs.get("knative.events")
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def tell(self, resource: Resource, obj: Obj, type_: str, reason: str, message: str) -> None:
        """Record once a minute; ``type_`` is ``Normal`` or ``Warning``."""
        text = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 3] + "..."
        key = (str(obj["metadata"].get("uid")), reason, text)
        now = time.monotonic()
        if now - self._told.get(key, -REPEAT_S) < REPEAT_S:
            return
        self._told[key] = now
        self._told.move_to_end(key)
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        if not self._waiting.full():
            self._waiting.put_nowait(build_event(resource, obj, (type_, reason, text), datetime.now(UTC)))

    async def run(self) -> None:
        """Write what is waiting, for ever; an Event the API server does not take is dropped."""
        while True:
            event = await self._waiting.get()
            await asyncio.sleep(LAG_S)
            while True:
                try:
                    await self._client.create(EVENTS, event["metadata"]["namespace"], event)
                except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    self._log.debug("event dropped", reason=event["reason"], error=repr(error))
                except Exception as error:  # one Event that cannot be written must not end the process
                    self._log.error("event not written", reason=event["reason"], error=repr(error))
                if self._waiting.empty():
                    break
                event = self._waiting.get_nowait()


def build_event(resource: Resource, obj: Obj, said: tuple[str, str, str], at: datetime) -> Obj:
    """One Event about ``obj``; ``said`` is type, reason and message."""
    metadata, stamp = obj["metadata"], instants.render(at)
    component = f"{KINDS[resource].lower()}-controller"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name'][:230]}.{secrets.token_hex(8)}",
        },
        "involvedObject": {
            "apiVersion": resource.api_version,
            "kind": KINDS[resource],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": said[0],
        "reason": said[1],
        "message": said[2],
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
