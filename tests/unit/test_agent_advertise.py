"""An agent is found in etcd from the first moment on in which it is attached."""

from __future__ import annotations

import asyncio
from typing import Any

from orbit_agent.advertise import Advertiser
from orbit_core.errors import StoreError
from orbit_core.pb.orbit.v1 import agents_pb2
from orbit_core.store.api import PutResult
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore


class SlowToWrite(MemoryStore):
    """Takes nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = False
        self.refused = asyncio.Event()

    async def put(self, *args: Any, **how: Any) -> PutResult:
        if not self.may_write:
            self.refused.set()
            raise StoreError("not now")
        return await super().put(*args, **how)


class Link:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.found: Any = None
        self.attached = asyncio.Event()

    async def run(self) -> None:
        self.found = await self._store.get(Keys().agent("a"))
        self.attached.set()


async def test_an_agent_attaches_once_it_can_be_found(monkeypatch) -> None:
    monkeypatch.setattr("orbit_core.store.listing._RETRY_S", 0.01)
    store = SlowToWrite()
    advertiser, link = Advertiser(store, Keys(), "a"), Link(store)
    advertiser.say(agents_pb2.Advertisement(agent_id="a", address="here:1"))
    link_like: Any = link
    tasks = [asyncio.create_task(advertiser.run()), asyncio.create_task(advertiser.attach(link_like))]
    async with asyncio.timeout(10):
        await store.refused.wait()
        assert not link.attached.is_set()
        store.may_write = True
        await link.attached.wait()
    assert link.found is not None and b"here:1" in link.found.value
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.close()
