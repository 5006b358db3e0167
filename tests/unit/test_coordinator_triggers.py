"""Which cron ticks are due, and what the clock makes of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from orbit_coordinator.specs import Spec
from orbit_coordinator.triggers import CronClock, Starter, due_ticks, run_id_of
from orbit_core.limits import OBJECT_INLINE_MAX_BYTES
from orbit_core.sched.events import ClusterEnabled, RunCreated
from orbit_core.sched.state import ClusterEntry, MeshState
from orbit_core.sched.step import step
from orbit_core.spec.loader import load
from orbit_core.spec.models import CronTrigger
from orbit_core.store.blobs.memory import MemoryBlobs


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def entry(*, submitted: str, last: str | None = None) -> ClusterEntry:
    return ClusterEntry("a/b", "hash", at(submitted), last_tick_ms=at(last) if last else 0)


NIGHTLY = "0 0 * * *"


@pytest.mark.parametrize(
    ("catch_up", "now", "expected"),
    [
        ("latest", "2026-03-01T23:59:59", []),
        ("latest", "2026-03-02T00:00:00", ["2026-03-02T00:00:00"]),
        ("latest", "2026-03-09T10:00:00", ["2026-03-09T00:00:00"]),
        ("all", "2026-03-04T10:00:00", ["2026-03-02T00:00:00", "2026-03-03T00:00:00", "2026-03-04T00:00:00"]),
        ("none", "2026-03-04T10:00:00", []),
        ("none", "2026-03-04T00:00:30", ["2026-03-04T00:00:00"]),
        ("latest", "2028-03-04T10:00:00", ["2028-03-04T00:00:00"]),
    ],
)
def test_missed_ticks(catch_up, now, expected):
    trigger = CronTrigger(cron=NIGHTLY, catch_up=catch_up)
    known = entry(submitted="2026-03-01T12:00:00")
    assert due_ticks(trigger, known, at(now)) == [at(text) for text in expected]


def test_never_before_submission_and_never_twice():
    trigger = CronTrigger(cron=NIGHTLY)
    assert due_ticks(trigger, entry(submitted="2026-03-01T12:00:00"), at("2026-03-01T12:00:01")) == []
    fired = entry(submitted="2026-03-01T12:00:00", last="2026-03-02T00:00:00")
    assert due_ticks(trigger, fired, at("2026-03-02T00:00:01")) == []


def test_the_same_firing_is_the_same_run():
    assert run_id_of("a/b", "cron", "1") == run_id_of("a/b", "cron", "1")
    assert len({run_id_of("a/b", "cron", "1"), run_id_of("a/b", "cron", "2"), run_id_of("a/c", "cron", "1")}) == 3


class Told:
    """What a cron clock needs of a leader, and remembers what it was told."""

    def __init__(self, now_ms: int, *entries: ClusterEntry) -> None:
        self.state = MeshState(clusters={each.identifier: each for each in entries})
        self.time_ms = now_ms
        self.events: list[RunCreated] = []

    def now_ms(self) -> int:
        return self.time_ms

    async def tell(self, event: RunCreated) -> None:
        self.events.append(event)


class Specs:
    """Every hash is the same nightly cluster."""

    async def get(self, spec_hash: str) -> Spec:
        text = (
            b"version: 0.0.1b\ncluster:\n  identifier: a/b\n  sla: 2h\n  trigger: {cron: '0 0 * * *'}\n"
            b"  satellites:\n    - {uses: satellite/orbit/echo, identifier: only}\n"
        )
        cluster = load(text).cluster
        assert cluster is not None
        return Spec(spec_hash, cluster, workflow=None)  # type: ignore[arg-type]


class TimeStopped(Exception):
    """Ends the endless work of a clock."""


async def looked(leader: Told, wall_ms: int = 0) -> list[RunCreated]:
    """What the cron clock tells at one look, on a machine whose own clock says `wall_ms`."""

    class Clock:
        def now_ms(self) -> int:
            return wall_ms

        async def sleep(self, seconds: float) -> None:
            raise TimeStopped

    clock = CronClock(leader, Specs(), MemoryBlobs(), Clock())  # type: ignore[arg-type]
    with pytest.raises(TimeStopped):
        await clock.run()
    return leader.events


async def test_a_tick_is_told_with_a_deadline_in_the_time_of_the_mesh():
    leader = Told(at("2026-03-02T00:00:10"), entry(submitted="2026-03-01T12:00:00"))
    (event,) = await looked(leader, wall_ms=at("2020-01-01T00:00:00"))
    assert event.run_id == run_id_of("a/b", "cron", str(at("2026-03-02T00:00:00")))
    assert event.deadline_ms == at("2026-03-02T02:00:10")


async def test_a_disabled_cluster_has_no_ticks_and_none_is_made_up_for_when_it_is_enabled():
    known = entry(submitted="2026-03-01T12:00:00")
    leader = Told(at("2026-03-02T00:00:10"), known)
    step(leader.state, ClusterEnabled("a/b", False), at("2026-03-01T13:00:00"))
    assert await looked(leader) == []
    leader.time_ms = at("2026-03-05T10:00:00")
    step(leader.state, ClusterEnabled("a/b", True), leader.time_ms)
    assert await looked(leader) == []
    leader.time_ms = at("2026-03-06T00:00:01")
    assert len(await looked(leader)) == 1


async def test_a_firing_that_is_repeated_while_its_payload_is_slow_to_be_written_is_one_run():
    """The first run may have ended, and left the state, before the slow one would be told."""
    leader, archived, put = Told(at("2026-03-02T00:00:10")), set[str](), asyncio.Event()

    class Archive:
        async def find(self, run_id: str) -> str | None:
            return run_id if run_id in archived else None

    class SlowBlobs(MemoryBlobs):
        async def put(self, source: Any, *, expected_sha256: str | None = None) -> Any:
            if not put.is_set():
                put.set()
                for _ in range(20):
                    await asyncio.sleep(0)
            return await super().put(source, expected_sha256=expected_sha256)

    async def tell_and_end(event: RunCreated) -> None:
        leader.events.append(event)
        archived.add(event.run_id)

    leader.tell = tell_and_end  # type: ignore[method-assign]
    starter = Starter(leader, Archive(), SlowBlobs())  # type: ignore[arg-type]
    spec = await Specs().get("hash")
    payload = {"large": "x" * OBJECT_INLINE_MAX_BYTES}
    slow = asyncio.create_task(starter.start(spec, "api-call", "r1", payload))
    await put.wait()
    again = await starter.start(spec, "api-call", "r1", payload)
    assert [(await slow)[1], again[1]] == [True, False]
    assert len(leader.events) == 1
    assert (await starter.start(spec, "api-call", "r2", {}))[1]
