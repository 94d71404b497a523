"""One request's way to a pod and its answer's way back: wait, dial, forward, time out, tunnel.

``engine`` makes one per request once it knows the revision (or another destination). Nothing here keeps a body: both
directions are pumped at the pace of the slower side. Invariant: what was entered (hold, meter, pod call) is left
exactly once, however the request ends.
"""

from __future__ import annotations

import asyncio

from activator_hooks.timeline import Timeline
from standalone.gateway import h1_wire, replies
from standalone.gateway import headers as rules
from standalone.gateway.deadlines import Deadlines
from standalone.gateway.exchange import Answer, DialError, Exchange, GoneError, PodCall, pump
from standalone.gateway.inbox import Headers
from standalone.gateway.pods_pool import Pool
from standalone.gateway.revision import Pod, Revision

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
COLD_START = (b"wakeful-cold-start", b"true")


class Passage:
    """The way of one request."""

    def __init__(self, exchange: Exchange, deadlines: Deadlines, appended: Headers) -> None:
        self.exchange = exchange
        self.deadlines = deadlines
        self.appended = appended
        self.status = 0
        self.was_held = False
        self.timeline: Timeline | None = None
        self._held_s = 0.0
        self._waits_for: Revision | None = None
        self._woke_at: float | None = None
        self._body: bytes | None = None
        self._is_streaming = False
        self._is_repeated = False
        self._announced_length: int | None = None

    # ---- to a revision

    async def to_revision(self, revision: Revision) -> None:
        """Serve it from a pod of ``revision``. Raises ``HoldFullError``, ``WakeFailedError``, ``PodError``, ``BodyError``."""
        loop = asyncio.get_running_loop()
        revision.meter.arrive(loop.time())
        self.deadlines.arm_for(revision.view)
        tries = 0
        try:
            while True:
                pod = await self._enter(revision, is_redial=tries > 0)
                try:
                    call = await self._dial(revision, pod)
                    await self._serve(call, revision, pod)
                    return
                except DialError:
                    tries += 1
                    revision.dial_failed(pod)
                    if tries >= revision.limits.dial_tries or not self._can_repeat:
                        raise
                finally:
                    revision.leave(pod)
        finally:
            revision.meter.depart(loop.time())
            if self._woke_at is not None:
                revision.wake_ends()

    async def _enter(self, revision: Revision, *, is_redial: bool) -> Pod:
        while True:
            key = None if is_redial else revision.hold.try_enter()
            if key is None:
                key = await self._wait(revision, is_redial=is_redial)
            pod = revision.pods.get(key)
            if pod is not None and pod.pool is not None:
                return pod
            revision.hold.leave(key)  # it vanished in the same instant
            is_redial = True

    async def _wait(self, revision: Revision, *, is_redial: bool) -> str:
        loop = asyncio.get_running_loop()
        began = loop.time()
        head, limits = self.exchange.head, revision.limits
        body, most = self.exchange.body, limits.held_body_bytes
        expected = body.total if body.is_ended else most if head.length is None else min(head.length, most)
        size = head.size_bytes + expected
        self._waits_for = revision
        entering = asyncio.ensure_future(revision.hold.enter(size, is_redial=is_redial))
        try:
            await asyncio.sleep(
                0
            )  # it is in the queue (or refused) now, so that the wake sees somebody waiting
            if not entering.done() and revision.wait_begins():
                self._woke_at = revision.wake_seen_at
            if not entering.done() and not revision.hold.breaker.pods:
                self.was_held = True
            key = await entering
            self._waits_for = None
            return key
        except asyncio.CancelledError:
            entering.cancel()
            if entering.done() and not entering.cancelled() and entering.exception() is None:
                revision.hold.leave(entering.result())
            raise
        finally:
            self._held_s += loop.time() - began

    async def _dial(self, revision: Revision, pod: Pod) -> PodCall:
        assert pod.pool is not None
        is_h2 = revision.view.is_h2 or self.exchange.head.is_grpc
        if is_h2 and self.exchange.head.upgrade:
            is_h2 = False
        return await pod.pool.call(is_h2=is_h2)

    @property
    def _can_repeat(self) -> bool:
        """Nothing of the request is lost by sending it again."""
        return not self.exchange.is_started and (self._body is not None or not self._is_streaming)

    # ---- to another address

    async def to_pool(self, pool: Pool, timeout_s: float) -> None:
        """Serve it from an address that is no pod: the event ingress, a host outside."""
        self.deadlines.arm(timeout_s)
        await self._serve(await pool.call(is_h2=False), None, None)

    # ---- both ways

    async def _serve(self, call: PodCall, revision: Revision | None, pod: Pod | None) -> None:
        try:
            await self._forward(call, revision, pod)
        except DialError:
            call.abort()
            raise
        except GoneError as error:
            call.abort()
            if self._is_repeated or not (self._can_repeat and self.exchange.head.method in IDEMPOTENT):
                raise
            if pod is None or pod.pool is None or revision is None:
                raise
            self._is_repeated = True
            if not call.is_reused:
                # it died between our connecting and its answer: another pod, or this one once it answers its probe
                raise DialError(str(error)) from error
            # the server closed a kept connection as we used it; such a request may be sent once more
            fresh = await self._dial(revision, pod)
            try:
                await self._forward(fresh, revision, pod)
            except BaseException:
                fresh.abort()
                raise
        except BaseException:
            call.abort()
            raise

    async def _forward(self, call: PodCall, revision: Revision | None, pod: Pod | None) -> None:
        exchange = self.exchange
        head, body = exchange.head, exchange.body
        upload: asyncio.Task[None] | None = None
        call.start(head, rules.to_pod(head, self.appended))
        if body.is_ended or self._body is not None:
            if self._body is None:
                self._body = body.take()
            call.finish(self._body, body.trailers)
        else:
            exchange.want_body()
            call.flush()
            self._is_streaming = True
            if not head.upgrade:
                upload = asyncio.get_running_loop().create_task(pump(body, call))
        try:
            answer = await call.answer()
            if answer.status == 101 and head.upgrade:
                await self._tunnel(call, answer, pod)
                return
            self._start(answer, revision, pod)
            if not call.inbox.has_data:
                exchange.flush()
            on_write = self.deadlines.wrote if self.deadlines.watches_writes else None
            await pump(call.inbox, exchange, on_write)
        finally:
            if upload is not None and not upload.done():
                upload.cancel()
            if upload is not None:
                await asyncio.gather(upload, return_exceptions=True)
        call.release()

    def _start(self, answer: Answer, revision: Revision | None, pod: Pod | None) -> None:
        fields = rules.to_client(answer.headers)
        if self.was_held and revision is not None and pod is not None:
            fields.append(COLD_START)
            fields.append((b"server-timing", self._timing(revision, pod).encode()))
        self.status = answer.status
        self._announced_length = h1_wire.content_length(answer.headers)
        self.exchange.start(answer.status, fields, answer.has_body)
        self.deadlines.wrote()

    def _timing(self, revision: Revision, pod: Pod) -> str:
        if self._woke_at is None:
            return f"hold;dur={self._held_s * 1000:.1f}"
        self.timeline = revision.build_timeline(pod, self._woke_at)
        return self.timeline.server_timing()

    async def _tunnel(self, call: PodCall, answer: Answer, pod: Pod | None) -> None:
        """Raw bytes both ways until either side ends (WebSocket and other upgrades)."""
        self.status = 101
        self.exchange.become_tunnel(rules.to_client(answer.headers))
        loop = asyncio.get_running_loop()
        if pod is not None:
            pod.tunnels += 1
        ways = {
            loop.create_task(pump(self.exchange.body, call)),
            loop.create_task(pump(call.inbox, self.exchange)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if pod is not None:
                pod.tunnels -= 1
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            call.release()
            if self.exchange.is_started:
                self.exchange.finish(b"", [])

    # ---- the end before its time

    def time_out(self) -> None:
        """One of the three timeouts has expired (spec 3.7)."""
        exchange = self.exchange
        told = replies.ACTIVATOR_TIMEOUT if self.was_held else replies.REQUEST_TIMEOUT
        if self._waits_for is not None and not self._waits_for.hold.breaker.pods:
            told += "\n" + self._waits_for.why_waiting()
        if not exchange.is_started:
            self.status = 504
            say(exchange, replies.text(504, told))
        elif exchange.head.is_grpc:
            exchange.finish(b"", [(b"grpc-status", b"4"), (b"grpc-message", told.encode())])
        elif self.status == 101 or self._announced_length is not None:
            exchange.abort()
        else:
            exchange.finish(told.encode(), [])


def say(exchange: Exchange, reply: replies.Reply) -> None:
    """Give an answer of our own; in gRPC's form to gRPC clients. Does nothing once an answer has begun."""
    if exchange.is_started:
        return
    if exchange.head.is_grpc:
        exchange.start(200, [(b"content-type", b"application/grpc")])
        exchange.finish(b"", replies.grpc(reply))
        return
    exchange.start(reply.status, reply.headers)
    exchange.finish(reply.body, [])
