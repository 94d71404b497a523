"""Runs the part of the controller that only one replica may do, while this process holds the Lease.

Used by ``__main__``; the rules are in ``lease``. The Lease comes with the installation: a controller whose Lease is gone
is being removed, and does not act. Without an election (one machine) the work simply runs. Invariant: the work has
been cancelled before another replica may take the Lease over, and a clean end gives the Lease back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from controller import lease
from controller.connection import Api, ApiFailureError
from controller.lease import Obj, Seen, Step, Timing
from wakeful.core.api import instants
from wakeful.kit import logs
from wakeful.kit.kube import Resource

LEASES = Resource("coordination.k8s.io", "v1", "leases")
LEASE_NAME = "wakeful-controller"

Work = Callable[[], Coroutine[Any, Any, None]]

log = logs.get("controller.leader")


class Election:
    """One replica's part in the election of one namespace."""

    def __init__(self, api: Api, namespace: str, identity: str, timing: Timing | None = None) -> None:
        self._api = api
        self._path = LEASES.path(namespace, LEASE_NAME)
        self._identity = identity
        self._timing = timing or Timing()
        self._seen = Seen()
        self._renewed_at = 0.0
        self._complaint = ""
        self.is_leader = False

    async def run(self, work: Work) -> None:
        """Run ``work`` whenever this replica leads, for ever. An error of ``work`` ends it all and is raised here."""
        working: asyncio.Task[None] | None = None
        try:
            while True:
                await self._look()
                if self.is_leader and working is None:
                    log.info("leading", identity=self._identity)
                    working = asyncio.create_task(work())
                elif not self.is_leader and working is not None:
                    log.warning("not leading any more", identity=self._identity)
                    await _end(working)
                    working = None
                if working is None:
                    await asyncio.sleep(self._timing.retry_s)
                    continue
                await asyncio.wait({working}, timeout=self._timing.retry_s)
                if working.done():
                    working.result()
                    raise RuntimeError("the leader's work ended by itself")
        finally:
            if working is not None:
                await _end(working)
            await self._release()

    async def _look(self) -> None:
        """Renew, take over or wait; ``is_leader`` says what came of it."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timing.deadline_s / 2):
                self.is_leader = await self._write()
            if self.is_leader:
                self._renewed_at = started
            self._complaint = ""
            return
        except ApiFailureError as error:
            why = str(error)
        except TimeoutError:
            why = "the API server does not answer"
        if self._complaint != why:
            self._complaint = why
            log.warning("the lease cannot be renewed", error=why)
        if time.monotonic() + self._timing.retry_s > self._renewed_at + self._timing.deadline_s:
            self.is_leader = False

    async def _write(self) -> bool:
        found = await self._api.get(self._path)
        if found is None:
            raise ApiFailureError(404, f"the Lease {LEASE_NAME} does not exist: apply config/default again")
        now = time.monotonic()
        self._seen = lease.look(found, self._seen, now)
        step = lease.decide(found, self._seen, self._identity, now)
        if step is Step.WAIT:
            return False
        body = lease.written(found, step, self._identity, _now(), self._timing.duration_s)
        try:
            await self._api.request("PUT", self._path, body)
        except ApiFailureError as error:
            if error.code == 409 and step is Step.TAKE:
                return False  # another one was faster
            raise  # a holder stays one until its deadline
        return True

    async def _release(self) -> None:
        if not self.is_leader:
            return
        self.is_leader = False
        with contextlib.suppress(ApiFailureError, TimeoutError):
            async with asyncio.timeout(2):
                found = await self._api.get(self._path)
                spec: Obj = (found or {}).get("spec") or {}
                if found is not None and spec.get("holderIdentity") == self._identity:
                    await self._api.request("PUT", self._path, lease.released(found, _now()))


class Alone:
    """No election: the only controller there is (one machine)."""

    is_leader = True

    async def run(self, work: Work) -> None:
        """Run ``work``."""
        await work()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _now() -> str:
    return instants.render_micro(datetime.now(UTC))
