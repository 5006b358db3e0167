"""etcd that fills up: new runs are refused, work is held, and a full one is made to go again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from orbit_coordinator.leader import HELD_IN_FLIGHT, Leader
from orbit_coordinator.space import Space
from orbit_core.clock import SystemClock
from orbit_core.errors import FencedError, StoreFullError
from orbit_core.limits import KIB
from orbit_core.sched.commands import Command, Dispatch
from orbit_core.sched.events import AgentAttached, RunCreated
from orbit_core.sched.model import ObjectAddress, TriggerFacts
from orbit_core.sched.state import MeshState
from orbit_core.store.election import Candidate, Election, Leadership
from orbit_core.store.journal import JournalWriter
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from orbit_core.store.snapshot import SnapshotWriter
from tests.property.sched_worlds import agent, chain

KEYS = Keys()
QUOTA = 100 * KIB


class Effects:
    def __init__(self) -> None:
        self.dispatched: list[Dispatch] = []

    def act(self, commands: Sequence[Command]) -> None:
        self.dispatched += [each for each in commands if isinstance(each, Dispatch)]

    def room(self) -> dict[str, int]:
        return {"a": 100, "b": 100}


class Rig:
    def __init__(self, store: MemoryStore, leadership: Leadership) -> None:
        self.store = store
        self.leadership = leadership
        self.effects = Effects()
        state = MeshState()
        state.workflows["spec"] = chain(1)
        self.journal = JournalWriter(store, KEYS, leadership, next_seq=1)
        self.leader = Leader(state, self.journal, self.effects, SystemClock())
        self.space = Space(self.leader, store, KEYS, leadership, SystemClock())
        self.task = asyncio.create_task(self.leader.run())

    async def fill(self, share: float) -> None:
        """Something else takes room, up to that share of the quota."""
        used = (await self.store.status()).db_in_use_bytes
        await self.store.put(b"/filler", b"x" * (int(QUOTA * share) - used))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    store = MemoryStore(quota_bytes=QUOTA)
    election = Election(store, KEYS, Candidate("c", "c:1"), ttl_s=600)
    made = Rig(store, await election.campaign())
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)
    await made.journal.close()
    await election.resign()
    await store.close()


def run_created(run_id: str) -> RunCreated:
    trigger = TriggerFacts("api-call", 1, "now")
    return RunCreated(run_id, "test/flow", "spec", trigger, ObjectAddress(json="{}"), deadline_ms=2**50)


async def test_new_runs_are_refused_with_a_clear_error_and_taken_again(rig: Rig) -> None:
    await rig.leader.tell(run_created("run-1"))
    await rig.fill(0.65)
    await rig.space.look()
    with pytest.raises(StoreFullError, match="65% of its quota"):
        await rig.leader.tell(run_created("run-2"))
    await rig.leader.tell(run_created("run-1"))  # known: the answer is that it exists
    await rig.leader.tell(AgentAttached(agent("a")))
    assert [each.key.run_id for each in rig.effects.dispatched] == ["run-1"], "what was accepted goes on"
    await rig.store.delete(b"/filler")
    await rig.store.compact((await rig.store.range(b"/")).revision)
    await rig.space.look()
    await rig.leader.tell(run_created("run-2"))


async def test_little_is_placed_at_a_time_while_etcd_is_nearly_full(rig: Rig) -> None:
    for number in range(20):
        await rig.leader.tell(run_created(f"run-{number}"))
    await rig.fill(0.85)
    await rig.space.look()
    for name in ("a", "b"):
        await rig.leader.tell(AgentAttached(agent(name, cpus=16)))
    assert len(rig.effects.dispatched) == HELD_IN_FLIGHT
    await rig.store.delete(b"/filler")
    await rig.store.compact((await rig.store.range(b"/")).revision)
    await rig.space.look()
    rig.leader.nudge()
    await rig.leader.tell(run_created("run-last"))
    assert len(rig.effects.dispatched) > HELD_IN_FLIGHT


async def test_a_full_etcd_is_made_to_go_again(rig: Rig) -> None:
    for number in range(5):
        await rig.leader.tell(run_created(f"run-{number}"))
    await SnapshotWriter(rig.store, KEYS, rig.leadership).write(3, {"mesh": b"{}"})
    with pytest.raises(StoreFullError):
        for number in range(200):
            await rig.store.put(b"/filler", bytes([number]) * 2_000)
    waiting = rig.leader.tell(run_created("run-6"))
    await asyncio.sleep(0.05)
    assert not waiting.done() and rig.journal.stalled is not None, "nothing is lost, and nothing is said too early"
    await rig.space.look()
    async with asyncio.timeout(10):
        await waiting
    assert await rig.store.alarms() == ()


async def test_a_deposed_leader_deletes_nothing(rig: Rig) -> None:
    await rig.store.put(KEYS.journal(1), b"record")
    rig.store._nospace = True
    await rig.store.delete(rig.leadership.key)
    with pytest.raises(FencedError):
        await rig.space.look()
    assert await rig.store.get(KEYS.journal(1)) is not None
