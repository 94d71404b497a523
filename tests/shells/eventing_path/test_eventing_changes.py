"""Triggers that come and go while a delivery is under way: replies go to who is there then, lanes to who exists."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from eventing_rig import Rig, running_rig
from waiting_rig import until

from eventing.brokers.sqlite import SqliteBroker
from eventing.ports import Done, Leased, Settlement, StoreError

REPLY = {"ce-specversion": "1.0", "ce-id": "r", "ce-source": "/r", "ce-type": "reply"}


class FullDisk(SqliteBroker):
    """Refuses every reply until it is ``freed``."""

    freed = asyncio.Event()
    refused = asyncio.Event()

    async def settle(self, leased: Leased, settlement: Settlement) -> bool:
        if isinstance(settlement, Done) and settlement.replies and not self.freed.is_set():
            self.refused.set()
            raise StoreError("no space left on the disk")
        return await super().settle(leased, settlement)


async def test_a_reply_that_waited_for_the_disk_goes_to_who_wants_it_then(tmp_path: Path) -> None:
    """It went to the Triggers of the first try: a new one never saw it, a deleted one kept it for ever."""
    FullDisk.freed, FullDisk.refused = asyncio.Event(), asyncio.Event()

    async def reply(_: web.Request, __: bytes) -> web.StreamResponse:
        return web.Response(status=200, headers=REPLY)

    async with running_rig(tmp_path, store=FullDisk) as rig:
        subscriber, second = await rig.start_subscriber(), await rig.start_subscriber()
        subscriber.answer = reply
        rig.add_broker()
        wants_replies = {"filter": {"attributes": {"type": "reply"}}}
        rig.add_trigger("a", subscriber.url, filter={"attributes": {"type": "com.example"}})
        old = rig.add_trigger("old", second.url, **wants_replies)
        await rig.post()
        await asyncio.wait_for(FullDisk.refused.wait(), 5)
        rig.routes.drop_trigger({"metadata": {"namespace": "ns", "name": "old", "uid": "uid-old"}})
        rig.dispatcher.drop([old])
        rig.add_trigger("new", second.url, **wants_replies)
        FullDisk.freed.set()
        await second.wait(1)
        await until(lambda: rig.outcome("new", "delivered") == 1)
        assert await rig.broker.consumers() == set()


async def test_a_consumer_that_is_gone_gets_no_lane(rig: Rig) -> None:
    """An answer that came after the Trigger was deleted made a task that waited for ever."""
    rig.add_broker()
    consumer = rig.add_trigger("t", "http://127.0.0.1:1/")
    rig.routes.drop_trigger({"metadata": {"namespace": "ns", "name": "t", "uid": "uid-t"}})
    rig.dispatcher.drop([consumer])
    rig.dispatcher.wake([consumer])
    await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == f"lane {consumer}"])
