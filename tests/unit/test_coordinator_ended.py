"""What ended runs left keeps two copies as long as it is kept, whichever machine dies."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from orbit_coordinator.archive import Archive
from orbit_coordinator.copies import MeshBlobs
from orbit_coordinator.ended import Ended
from orbit_core.ids import content_hash
from orbit_core.store.api import Compare
from orbit_core.store.blobs import BlobUnreachableError, MemoryBlobs
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore
from tests.property.sched_worlds import chain
from tests.unit.blob_machines import FILE, PAGE, PAYLOAD, Machines, a_run_on, with_home

LOGS = b'{"message":"done"}\n'
LEFT = {content_hash(each) for each in (FILE, PAGE, PAYLOAD, LOGS)}


class World:
    """An archive on machines b and c, with one run that b worked for."""

    def __init__(self) -> None:
        self.machines = Machines("b:1", "c:1")
        self.store, self.keys = MemoryStore(), Keys()

    async def archive_run(self, blobs: MeshBlobs) -> Archive:
        run = (await a_run_on(self.machines, "b")).runs["run"]
        for each in (PAGE, FILE):
            await self.machines.blobs.ensure(content_hash(each))
        await self.machines.blobs.secure([content_hash(PAYLOAD)])
        archive = Archive(self.store, self.keys, blobs)
        anybody: Any = SimpleNamespace(guard=lambda: Compare.absent(b"/nobody"))
        await archive.write(run, chain(2), LOGS, anybody)
        return archive

    def holders(self, sha256: str) -> set[str]:
        here = {"here"} if sha256 in self.machines.local.contents else set[str]()
        return here | set(self.machines.holders(sha256))


@pytest.fixture
async def world() -> Any:
    made = World()
    yield made
    await made.store.close()


async def test_what_a_dead_machine_held_is_copied_again(world: World) -> None:
    machines = world.machines
    ended = Ended(await world.archive_run(machines.blobs), machines.blobs, machines.clock)
    await ended.look()
    machines.pushes.clear()
    del machines.disks["b:1"]
    machines.clock.now_s += 10
    await ended.look()
    for sha256 in LEFT | {await record_of(world)}:
        assert world.holders(sha256) == {"here", "c:1"}


async def record_of(world: World) -> str:
    found = await world.store.get(world.keys.archived("run"))
    assert found is not None
    return json.loads(found.value)["record"]


async def test_the_next_leader_puts_right_what_the_last_ones_end_left_with_one_copy(world: World) -> None:
    machines = world.machines
    await world.archive_run(machines.blobs)
    machines.local.contents.clear()  # another coordinator, which was there for none of it
    for sha256 in list(machines.disks["c:1"].contents):
        machines.disks["b:1"].contents.setdefault(sha256, machines.disks["c:1"].contents[sha256])
    machines.disks["c:1"].contents.clear()
    await Ended(Archive(world.store, world.keys, machines.blobs), machines.blobs, machines.clock).look()
    for sha256 in LEFT | {await record_of(world)}:
        assert world.holders(sha256) >= {"here", "b:1"}


async def test_what_is_safe_is_asked_about_once_and_not_copied(world: World) -> None:
    machines = world.machines
    ended = Ended(await world.archive_run(machines.blobs), machines.blobs, machines.clock)
    machines.pushes.clear()
    await ended.look()
    machines.disks["b:1"].contents.clear()  # nobody has told
    await ended.look()
    assert machines.pushes == []


async def test_what_is_lost_is_said_and_does_not_hold_up_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    machines = world.machines
    archive = await world.archive_run(machines.blobs)
    for disk in (machines.local, *machines.disks.values()):
        disk.contents.pop(content_hash(FILE), None)
    del machines.disks["b:1"]
    await Ended(archive, machines.blobs, machines.clock).look()
    assert content_hash(FILE) in caplog.text
    assert world.holders(content_hash(PAGE)) == {"here", "c:1"}


async def test_a_record_that_cannot_be_read_does_not_hold_up_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orbit_coordinator.ended.RUNS_AT_ONCE", 1)
    machines, home = world.machines, MemoryBlobs()
    archive = await world.archive_run(machines.blobs)
    found = await world.store.get(world.keys.archived("run"))
    broken = await machines.local.put(b"of another time")
    assert found is not None
    summary = json.loads(found.value) | {"record": broken.sha256}
    await world.store.put(world.keys.archived("a-run-before"), json.dumps(summary).encode())
    ended = Ended(archive, with_home(machines, home), machines.clock)
    await ended.look()
    assert "a-run-before" in caplog.text
    await ended.look()
    assert set(home.contents) == LEFT | {await record_of(world), broken.sha256}


async def test_with_a_home_what_ended_runs_left_is_brought_there(world: World) -> None:
    machines, home = world.machines, MemoryBlobs()
    archive = await world.archive_run(machines.blobs)
    await Ended(archive, with_home(machines, home), machines.clock).look()
    assert set(home.contents) == LEFT | {await record_of(world)}


async def test_a_home_that_is_away_is_no_reason_to_pass_a_run_over(world: World) -> None:
    class Away(MemoryBlobs):
        away = True

        async def stat(self, sha256: str) -> Any:
            if self.away:
                raise BlobUnreachableError("S3 does not answer")
            return await super().stat(sha256)

    machines, home = world.machines, Away()
    archive = await world.archive_run(machines.blobs)
    ended = Ended(archive, with_home(machines, home), machines.clock)
    with pytest.raises(BlobUnreachableError):
        await ended.look()
    home.away = False
    await ended.look()
    assert set(home.contents) == LEFT | {await record_of(world)}


async def test_many_runs_are_gone_through_bit_by_bit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orbit_coordinator.ended.RUNS_AT_ONCE", 1)
    machines, home = world.machines, MemoryBlobs()
    archive = await world.archive_run(machines.blobs)
    found = await world.store.get(world.keys.archived("run"))
    assert found is not None
    logs = [await machines.local.put(b"logs of run-%d" % number) for number in range(2)]
    for number, info in enumerate(logs):
        summary = json.loads(found.value) | {"logs": info.sha256}
        await world.store.put(world.keys.archived(f"run-{number}"), json.dumps(summary).encode())
    ended = Ended(archive, with_home(machines, home), machines.clock)
    seen: list[list[bool]] = []
    for _ in range(3):
        await ended.look()
        seen.append([info.sha256 in home.contents for info in logs])
    assert seen == [[False, False], [True, False], [True, True]]


async def test_machines_that_come_and_go_keep_the_round_from_no_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orbit_coordinator.ended.RUNS_AT_ONCE", 1)
    machines = world.machines
    archive = await world.archive_run(machines.blobs)
    found = await world.store.get(world.keys.archived("run"))
    assert found is not None
    for number in range(5):
        await world.store.put(world.keys.archived(f"run-{number}"), found.value)
    looked_at: list[str] = []
    find = archive.find

    async def watched(run_id: str) -> Any:
        looked_at.append(run_id)
        return await find(run_id)

    monkeypatch.setattr(archive, "find", watched)
    ended = Ended(archive, machines.blobs, machines.clock)
    for number in range(6):
        machines.disks = {f"spot-{number}:1": MemoryBlobs()}
        machines.clock.now_s += 10
        await ended.look()
    assert list(dict.fromkeys(looked_at)) == ["run", *(f"run-{number}" for number in range(5))]
