"""A follower's copy: as of the look, through truncation, and honest about its age where etcd cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from orbit_coordinator import recovery
from orbit_coordinator.replica import Replica
from orbit_coordinator.snapshots import Pictures
from orbit_core.clock import SystemClock
from orbit_core.errors import StoreError
from orbit_core.sched.events import Event, RunArchived, RunCancelled, RunCreated
from orbit_core.sched.model import ObjectAddress, RunStatus, TriggerFacts
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import step
from orbit_core.store.codec import digest, encode_event
from orbit_core.store.election import Candidate, Election
from orbit_core.store.journal import JournalWriter
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from orbit_core.store.snapshot import SnapshotWriter
from tests.property.sched_worlds import chain


class _Specs:
    workflow = chain(2)

    async def get(self, spec_hash: str) -> _Specs:
        return self


class _Clock(SystemClock):
    ms = 1_000

    def now_ms(self) -> int:
        return self.ms


class Flaky(MemoryStore):
    down = False

    async def range(self, *args: Any, **options: Any) -> Any:
        if self.down:
            raise StoreError("etcd does not answer")
        return await super().range(*args, **options)


class Mesh:
    """A leader's side of the store, and a follower's replica of it."""

    def __init__(self, store: Flaky, election: Election, leadership: Any) -> None:
        self.store, self.election, self.keys = store, election, Keys()
        self.state = MeshState()
        self.state.workflows["spec"] = _Specs.workflow
        self.journal = JournalWriter(store, self.keys, leadership, next_seq=1, linger_s=0)
        self.snapshots = SnapshotWriter(store, self.keys, leadership)
        self.clock = _Clock()
        self.replica = Replica(store, self.keys, _Specs(), self.clock)  # type: ignore[arg-type]

    async def happens(self, event: Event) -> int:
        step(self.state, event, 1_000)
        return await self.journal.append([encode_event(event, 1_000)])

    async def snapshot(self, sequence: int) -> None:
        pictures = Pictures()
        await pictures.begin(self.state)
        await self.snapshots.write(sequence, await pictures.finish())


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    store = Flaky()
    election = Election(store, Keys(), Candidate("c1", "c1:1"))
    made = Mesh(store, election, await election.campaign())
    yield made
    await made.journal.close()
    await election.resign()
    await store.close()


def created(run_id: str) -> RunCreated:
    trigger = TriggerFacts("api-call", 1, "now")
    return RunCreated(run_id, "test/flow", "spec", trigger, ObjectAddress(json="{}"), deadline_ms=2**50)


async def test_each_look_goes_on_where_the_last_one_ended(mesh: Mesh) -> None:
    await mesh.happens(created("run-1"))
    first = (await mesh.replica.look()).state
    await mesh.happens(created("run-2"))
    await mesh.happens(RunCancelled("run-1", "enough"))
    copy = await mesh.replica.look()
    assert copy.state is first, "nothing is read twice"
    assert copy.sequence == 3 and digest(copy.state) == digest(mesh.state)
    assert copy.state.runs["run-1"].status is RunStatus.CANCELLED


async def test_records_that_a_snapshot_has_replaced_are_not_missed(mesh: Mesh) -> None:
    await mesh.happens(created("run-1"))
    await mesh.replica.look()
    await mesh.happens(RunCancelled("run-1", "enough"))
    last = await mesh.happens(RunArchived("run-1"))
    await mesh.snapshot(last)  # and no record after it: there is no gap to be seen
    copy = await mesh.replica.look()
    assert copy.sequence == last and copy.state.runs == {}
    await mesh.happens(created("run-2"))
    last = await mesh.happens(created("run-3"))
    await mesh.snapshot(last - 1)
    assert digest((await mesh.replica.look()).state) == digest(mesh.state)


async def test_a_first_look_between_whose_reads_a_snapshot_empties_the_journal_misses_nothing(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = await mesh.happens(created("run-1"))
    load = recovery.load_newest

    async def and_then_a_snapshot(*args: Any) -> Any:
        found = await load(*args)
        monkeypatch.undo()
        await mesh.snapshot(last)
        return found

    monkeypatch.setattr(recovery, "load_newest", and_then_a_snapshot)
    copy = await mesh.replica.look()
    assert copy.sequence == last and list(copy.state.runs) == ["run-1"]


async def test_while_etcd_is_away_the_last_picture_is_given_with_its_time(mesh: Mesh) -> None:
    await mesh.happens(created("run-1"))
    mesh.clock.ms = 5_000
    assert (await mesh.replica.look()).as_of_ms == 5_000
    mesh.clock.ms, mesh.store.down = 9_000, True
    copy = await mesh.replica.look()
    assert copy.as_of_ms == 5_000 and list(copy.state.runs) == ["run-1"]
    mesh.store.down = False
    assert (await mesh.replica.look()).as_of_ms == 9_000


async def test_without_any_picture_a_store_that_is_away_is_an_error(mesh: Mesh) -> None:
    mesh.store.down = True
    with pytest.raises(StoreError):
        await mesh.replica.look()
