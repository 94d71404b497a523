"""The payload logger: takes calls from the edge at once, sends their records from tasks of its own.

``answered`` is called by the edge after an answer is written; it only notes the call and queues it (some
microseconds). ``WORKERS`` tasks deliver, each record up to ``ATTEMPTS`` times; what has to be done to a body before
(``bodies``) is done by a thread of the logger's own. Left out: durability. A log line is not worth a request, so a full
queue drops the newest records and counts them; at the end of the process what is queued is sent for ``CLOSE_S`` at most.

Invariant: records queued or being sent never exceed ``max_queued`` and ``max_queued_bytes``; serving never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from wakeful.core.protocol import payload_record
from wakeful.core.protocol.payload_record import Kind, Record
from wakeful.kit import logs
from wakeful.serving.exchange import Buffer, Reply, Request
from wakeful.serving.keeping import CutReply
from wakeful.serving.payload_log import bodies
from wakeful.serving.payload_log.bodies import Form
from wakeful.serving.payload_log.settings import LoggerSettings, Mode
from wakeful.serving.payload_log.sinks import Sink, SinkError
from wakeful.serving.pool import Pool

WORKERS = 5
ATTEMPTS = 4
FIRST_PAUSE_S = 0.2
CLOSE_S = 5.0
TRACE_CHARACTERS = 100
TYPE_CHARACTERS = 200
OVERHEAD_BYTES = 1024
"""What a record costs beside its body: names, headers, the objects themselves."""

TOGETHER_BYTES = 8 << 20
"""Of records in one object: more are several."""
BRIEF_BYTES = 1024
"""JSON up to here is redacted on the loop: that takes no more (some 30 us) than a thread would."""
GRPC_SCHEME, GRPC_TYPE = "grpc", "application/grpc"

log = logs.get("payload-log")


@dataclass(slots=True)
class Noted:
    """What both records of a call say."""

    id: str
    request_id: str
    at_s: float
    """When it was answered, seconds since 1970."""
    target: str
    metadata: Mapping[str, str]
    traceparent: str

    @property
    def cost(self) -> int:
        """Bytes that it holds, roughly: a caller may send 64 KiB of target and headers."""
        return OVERHEAD_BYTES + len(self.target) + sum(map(len, self.metadata.values()))


@dataclass(slots=True)
class Queued:
    """Half of a call that waits, its body as it was; ``record`` makes of it what a sink takes."""

    noted: Noted
    kind: Kind
    content_type: str
    form: Form
    body: bytes
    body_bytes: int
    cost: int
    """What it is charged with."""
    status: int | None = None
    duration_s: float = 0.0

    def record(self) -> Record:
        """The record, its body not worked on yet."""
        noted = self.noted
        return Record(
            self.kind,
            noted.id,
            datetime.fromtimestamp(noted.at_s, UTC).isoformat().replace("+00:00", "Z"),
            noted.target,
            self.content_type,
            self.body,
            noted.metadata,
            self.status,
            None if self.status is None else self.duration_s * 1000,
            self.body_bytes,
            noted.traceparent,
            noted.request_id,
        )


class PayloadLogger:
    """One server's logger; event loop only. ``start`` before the first ``answered``, ``close`` at the end."""

    least_status = 0

    @property
    def body_bytes(self) -> int:
        """How much of a body it looks at."""
        return 0 if self._settings.mode is Mode.REQUEST else self._settings.max_body_bytes

    def __init__(
        self,
        settings: LoggerSettings,
        sink: Callable[[], Sink],
        registry: CollectorRegistry,
        draw: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._make_sink = sink
        self._draw = draw
        self._queue: deque[Queued] = deque()
        self._pool = Pool(1, WORKERS, "payload-log")
        self._filled = asyncio.Event()
        self._bytes = 0
        self._sending = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._sink: Sink | None = None
        self._is_closing = False
        self.sent = Counter("wakeful_payload_log_sent", "Records delivered", ["kind"], registry=registry)
        self.dropped = Counter(
            "wakeful_payload_log_dropped", "Records given up", ["reason"], registry=registry
        )
        self._full = self.dropped.labels("full")
        queued = Gauge("wakeful_payload_log_queued", "Records waiting to be sent", registry=registry)
        queued.set_function(lambda: len(self._queue) + self._sending)

    async def start(self) -> None:
        """Open the sink and begin to send."""
        self._sink = self._make_sink()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(), name=f"payload-log-{n}") for n in range(WORKERS)]

    def answered(self, request: Request, reply: Reply, request_id: str, duration_s: float) -> None:
        """Queue the halves of one call. Never raises, never waits."""
        settings = self._settings
        if settings.sample_percent < 100 and self._draw() * 100 >= settings.sample_percent:
            return
        headers = request.headers
        noted = Noted(
            payload_record.call_id(headers, request_id),
            request_id,
            time.time(),
            payload_record.redacted_target(request.target, settings.redacted),
            payload_record.metadata(headers, settings.metadata_headers, settings.redacted),
            headers.get("traceparent", "")[:TRACE_CHARACTERS],
        )
        is_grpc = request.scheme == GRPC_SCHEME
        if settings.mode is not Mode.RESPONSE:
            form = Form.GRPC_REQUEST if is_grpc else Form.PLAIN
            kind = headers.get("content-type", "")[:TYPE_CHARACTERS]
            self._put(noted, Kind.REQUEST, kind, form, (request.body,))
        if settings.mode is not Mode.REQUEST:
            kind = next((v for k, v in reply.headers.items() if k.lower() == "content-type"), "")
            kind = kind[:TYPE_CHARACTERS]
            form = Form.GRPC_ANSWERS if is_grpc and kind == GRPC_TYPE else Form.PLAIN
            parts = reply.body if isinstance(reply.body, tuple) else (reply.body,)
            whole = tuple(part for part in parts if isinstance(part, bytes | bytearray | memoryview))
            omitted_bytes = reply.omitted_bytes if isinstance(reply, CutReply) else 0
            queued = self._put(noted, Kind.RESPONSE, kind, form, whole, omitted_bytes)
            if queued is not None:
                queued.status, queued.duration_s = reply.status, duration_s

    async def close(self) -> None:
        """Send what is queued for ``CLOSE_S`` at most, then stop; what is left is counted as dropped."""
        self._is_closing = True
        self._filled.set()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=CLOSE_S)
            for task in pending:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if left := len(self._queue) + self._sending:
            self.dropped.labels("shutdown").inc(left)
            log.warning("payload records not sent", records=left)
        if self._sink is not None:
            await self._sink.close()
        self._pool.close()

    def _put(
        self,
        noted: Noted,
        kind: Kind,
        content_type: str,
        form: Form,
        parts: tuple[Buffer, ...],
        omitted_bytes: int = 0,
    ) -> Queued | None:
        """Queue half of a call; None where the queue is full."""
        settings = self._settings
        size = sum(map(len, parts)) or omitted_bytes
        is_kept = size <= settings.max_body_bytes and not omitted_bytes
        cost = noted.cost + (size if is_kept else 0)
        if (
            len(self._queue) + self._sending >= settings.max_queued
            or self._bytes + cost > settings.max_queued_bytes
        ):
            self._full.inc()
            return None
        self._bytes += cost
        queued = Queued(noted, kind, content_type, form, b"".join(parts) if is_kept else b"", size, cost)
        self._queue.append(queued)
        self._filled.set()
        return queued

    async def _run(self) -> None:
        sink = self._sink
        assert sink is not None, "started"
        while True:
            while not self._queue:
                if self._is_closing:
                    return
                self._filled.clear()
                await self._filled.wait()
            if sink.max_records > 1:
                await self._gather(sink.max_records)
            taken = self._taken(sink.max_records)
            if taken:
                self._sending += len(taken)
                try:
                    await self._deliver(sink, await self._all_shown(taken))
                except Exception as error:  # a mistake of ours must not end the logging
                    self.dropped.labels("refused").inc(len(taken))
                    log.error("payload records lost", error=f"{type(error).__name__}: {error}"[:300])
                self._sending -= len(taken)
                self._bytes -= sum(queued.cost for queued in taken)

    async def _all_shown(self, taken: list[Queued]) -> list[Record]:
        records = []
        for queued in taken:
            records.append(await self._shown(queued))
            if len(taken) > 1:
                await asyncio.sleep(0)  # a thousand records take some milliseconds: requests come in between
        return records

    async def _shown(self, queued: Queued) -> Record:
        """The record as it may leave the process, charged with what it has become; without a body where that is too much."""
        settings = self._settings
        record = queued.record()
        if not bodies.needs_work(queued.form, settings.redacted) or not record.body:
            return record
        work = partial(bodies.shown, record, queued.form, settings.redacted, settings.max_body_bytes)
        is_brief = queued.form is Form.PLAIN and len(record.body) <= BRIEF_BYTES
        shown = work() if is_brief else await self._pool.run(work)
        queued.body = b""  # as it was it is not needed any more
        more = len(shown.body) - len(record.body)
        if self._bytes + more > settings.max_queued_bytes:
            return replace(shown, body=b"")
        self._bytes += more
        queued.cost += more
        return shown

    def _taken(self, wanted: int) -> list[Queued]:
        """What goes out together: at most ``wanted`` records and ``_together_bytes``, or one that is longer."""
        taken: list[Queued] = []
        room_bytes = self._together_bytes
        while self._queue and len(taken) < wanted:
            room_bytes -= self._queue[0].cost
            if taken and room_bytes < 0:
                break
            taken.append(self._queue.popleft())
        return taken

    @property
    def _together_bytes(self) -> int:
        """What one object may hold: while one is sent there has to be room for the next."""
        return min(TOGETHER_BYTES, self._settings.max_queued_bytes // 2)

    async def _gather(self, wanted: int) -> None:
        """Wait until an object's worth of records is there, at most ``batch_interval_s``, not at the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.batch_interval_s
        while (
            len(self._queue) < wanted
            and self._bytes < self._together_bytes
            and not self._is_closing
            and (left := until - loop.time()) > 0
        ):
            self._filled.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._filled.wait(), left)

    async def _deliver(self, sink: Sink, records: list[Record]) -> None:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await sink.deliver(records)
            except SinkError as error:
                if error.is_final or attempt == ATTEMPTS or self._is_closing:
                    self.dropped.labels("refused" if error.is_final else "unreachable").inc(len(records))
                    log.warning(
                        "payload records given up", records=len(records), attempts=attempt, error=str(error)
                    )
                    return
                await asyncio.sleep(pause_s)
                pause_s *= 3
            else:
                for record in records:
                    self.sent.labels(record.kind.value).inc()
                return
