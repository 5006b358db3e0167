"""The client through changes of leader: redirects, pauses, broken streams, and giving up with a remedy."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from orbit_core.client import OrbitClient, Patience
from orbit_core.errors import (
    FencedError,
    LimitError,
    MeshUnreachableError,
    NotLeaderError,
    OrbitError,
    StoreError,
    StoreFullError,
)
from orbit_core.pb.orbit.v1 import common_pb2, runs_pb2
from tests.unit.fake_mesh import FakeCoordinator, FakeMesh


class SkippingClock:
    """Time passes only by sleeping, at once; each sleep can do something, as the world does meanwhile."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sleeps: list[float] = []
        self.meanwhile: list[Any] = []

    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now_s += seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> SkippingClock:
    return SkippingClock()


@pytest.fixture
def mesh() -> FakeMesh:
    return FakeMesh()


@pytest.fixture
def coordinators(mesh: FakeMesh) -> Iterator[list[FakeCoordinator]]:
    found = [FakeCoordinator(mesh, f"c{n}") for n in range(3)]
    yield found
    for each in found:
        each.stop()


def client_of(coordinators: list[FakeCoordinator], clock: SkippingClock, **kwargs: Any) -> OrbitClient:
    addresses = [each.address for each in coordinators]
    return OrbitClient(addresses, clock=clock, jitter=random.Random(1), **kwargs)


async def test_a_follower_names_the_leader_and_is_not_asked_again(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    mesh.leader = coordinators[2]
    async with client_of(coordinators, clock) as client:
        for _ in range(3):
            await client.runs()
    assert [each.calls["ListRuns"] for each in coordinators] == [1, 0, 3]
    assert clock.sleeps == []


async def test_a_leader_that_nobody_named_is_found(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    """Known to the followers only: the client was given their addresses."""
    mesh.leader = coordinators[2]
    async with client_of(coordinators[:2], clock) as client:
        await client.runs()
    assert clock.sleeps == []


async def test_an_election_is_a_pause(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    async with client_of(coordinators, clock) as client:
        await client.runs()
        coordinators[0].stop()
        for each in coordinators:
            each.forget_leader()

        def elect() -> None:
            mesh.leader = coordinators[1]

        clock.meanwhile = [lambda: None, lambda: None, elect]
        await client.runs()
    assert len(clock.sleeps) == 3
    assert clock.sleeps[0] < clock.sleeps[1] < clock.sleeps[2]


async def test_a_deposed_leader_that_still_names_itself_is_not_a_trap(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    coordinators[0].stumble("ListRuns", NotLeaderError("deposed", leader=coordinators[0].address), FencedError())
    async with client_of(coordinators, clock) as client:
        await client.runs()


async def test_a_mutation_that_is_sent_again_carries_the_same_request_id(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    coordinators[0].stumble("TriggerRun", StoreError("etcd is away"), StoreError("etcd is away"))
    seen: list[str] = []
    original = mesh.run_of_request

    def spy(request: Any) -> Any:
        seen.append(request.request_id)
        if len(seen) == 1:
            original(request)  # done, but the answer is lost
            mesh.leader = coordinators[1]
            coordinators[0].stop()
        return original(request)

    mesh.run_of_request = spy
    async with client_of(coordinators, clock) as client:
        await client.trigger("demo/reports")
    assert len(seen) == 2
    assert len(set(seen)) == 1
    assert len(mesh.runs) == 1


async def test_nobody_there_ends_with_a_remedy(clock: SkippingClock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        waited: list[tuple[type[OrbitError], float]] = []
        client = OrbitClient(address, clock=clock, on_wait=lambda error, seconds: waited.append((type(error), seconds)))
        async with client:
            with pytest.raises(MeshUnreachableError) as caught:
                await client.runs()
    assert address in caught.value.message
    assert caught.value.remedy is not None and "orbit up" in caught.value.remedy
    assert 59.9 <= clock.now_s <= 60.1
    assert all(kind is MeshUnreachableError for kind, _ in waited)
    assert max(clock.sleeps) <= 2.0


async def test_first_contact_is_given_up_sooner_than_a_mesh_that_was_there(
    coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    patience = Patience(total_s=60, first_contact_s=5)
    (only,) = coordinators[:1]
    async with client_of([only], clock, patience=patience) as client:
        await client.runs()
        only.stop()
        with pytest.raises(MeshUnreachableError):
            await client.runs()
    assert clock.now_s == pytest.approx(60, abs=0.1)
    clock.now_s = 0
    async with client_of([only], clock, patience=patience) as client:
        with pytest.raises(MeshUnreachableError):
            await client.runs()
    assert clock.now_s == pytest.approx(5, abs=0.1)


async def test_a_store_that_stays_away_keeps_its_own_error(
    coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    coordinators[0].stumble("ListRuns", *[StoreError("etcd is away", remedy="look at etcd")] * 200)
    async with client_of(coordinators[:1], clock) as client:
        with pytest.raises(StoreError, match="etcd is away") as caught:
            await client.runs()
    assert caught.value.remedy == "look at etcd"


@pytest.mark.parametrize("answer", [StoreFullError("full"), LimitError("too many")])
async def test_an_answer_is_not_asked_for_again(
    coordinators: list[FakeCoordinator], clock: SkippingClock, answer: OrbitError
) -> None:
    coordinators[0].stumble("ListRuns", answer)
    async with client_of(coordinators, clock) as client:
        with pytest.raises(type(answer)):
            await client.runs()
    assert coordinators[0].calls["ListRuns"] == 1


def story(run_id: str, length: int) -> list[runs_pb2.Run]:
    running = [
        runs_pb2.Run(run_id=run_id, state=runs_pb2.RUN_STATE_RUNNING, lineages_succeeded=n) for n in range(length)
    ]
    ended = runs_pb2.Run(run_id=run_id, state=runs_pb2.RUN_STATE_SUCCEEDED, lineages_succeeded=length)
    return [*running, ended]


async def test_a_watch_goes_on_with_the_next_leader(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    whole = story("r", 6)
    mesh.story["r"] = whole[:3]
    mesh.runs["r"] = whole[0]
    coordinators[0].break_after("WatchRun", 2)
    async with client_of(coordinators, clock) as client:
        seen = []
        async for run in client.watch("r"):
            seen.append(run.lineages_succeeded)
            if len(seen) == 2:
                mesh.leader = coordinators[1]
                mesh.story["r"] = whole[2:]
    assert seen == [0, 1, 2, 3, 4, 5, 6]
    first, second = mesh.resume_tokens
    assert (first, bool(second)) == ("", True), "the next leader is told what was seen"


async def test_a_stream_that_ends_in_peace_before_the_run_does_is_resumed(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    whole = story("r", 3)
    mesh.story["r"] = whole[:2]

    def finish() -> None:
        mesh.story["r"] = whole[2:]

    clock.meanwhile = [finish]
    async with client_of(coordinators[:1], clock) as client:
        seen = [run.state async for run in client.watch("r")]
    assert seen == ["running", "running", "running", "succeeded"]


async def test_results_come_once_each_through_breaks(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    mesh.runs["r"] = runs_pb2.Run(run_id="r", state=runs_pb2.RUN_STATE_SUCCEEDED)
    mesh.results = [runs_pb2.Result(invocation_id=f"i{n // 2}", index=n % 2, json=b'{"n": %d}' % n) for n in range(20)]
    mesh.results.append(runs_pb2.Result(invocation_id="i99", failure=common_pb2.Failure(code="x")))
    coordinators[0].break_after("StreamResults", 3, 0, 11)
    async with client_of(coordinators, clock) as client:
        seen = [result async for result in client.results("r")]
    assert [result.value for result in seen] == [{"n": n} for n in range(20)] + [None]
    assert coordinators[0].calls["StreamResults"] == 4


async def test_logs_come_as_often_as_they_were_written_through_breaks(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    """The same line twice is two lines; and a new leader may have kept fewer lines than were given."""
    mesh.runs["r"] = runs_pb2.Run(run_id="r", state=runs_pb2.RUN_STATE_SUCCEEDED)
    lines = ["a", "tick", "tick", "b", "tick", "c"]
    mesh.logs = [common_pb2.LogRecord(time_ms=1, message=line) for line in lines]
    coordinators[0].break_after("StreamLogs", 4)
    async with client_of(coordinators, clock) as client:
        seen = []
        async for record in client.logs("r", follow=True):
            seen.append(record.message)
            if len(seen) == 4:
                del mesh.logs[0]
    assert seen == lines


async def test_patience_starts_over_with_each_message(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    """A watch that breaks after an hour has its whole minute to find the next leader."""
    mesh.story["r"] = story("r", 1)
    coordinators[0].break_after("WatchRun", 1)
    async with client_of(coordinators[:1], clock) as client:
        seen = []
        async for run in client.watch("r"):
            if not seen:
                clock.now_s += 3_600
            seen.append(run.state)
    assert seen == ["running", "succeeded"]


async def test_a_silent_stream_that_stood_long_has_its_patience_back(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    """It failed once, then stood without a message for an hour, then broke: that is not an hour of failing."""
    mesh.story["r"] = story("r", 0)
    coordinators[0].stumble("WatchRun", StoreError("etcd is away"))
    coordinators[0].break_after("WatchRun", 0)
    original = coordinators[0]._breaking

    def breaking(*args: Any) -> Any:
        if coordinators[0].calls["WatchRun"] == 2:
            clock.now_s += 3_600
        return original(*args)

    coordinators[0]._breaking = breaking
    async with client_of(coordinators[:1], clock) as client:
        assert [run.state async for run in client.watch("r")] == ["succeeded"]


async def test_a_stream_that_always_breaks_at_the_same_place_is_given_up(
    mesh: FakeMesh, coordinators: list[FakeCoordinator], clock: SkippingClock
) -> None:
    """What it repeats is no progress."""
    mesh.runs["r"] = runs_pb2.Run(run_id="r", state=runs_pb2.RUN_STATE_RUNNING)
    mesh.results = [runs_pb2.Result(invocation_id=f"i{n}", json=b"{}") for n in range(5)]
    coordinators[0].break_after("StreamResults", *[2] * 500)
    async with client_of(coordinators[:1], clock) as client:
        with pytest.raises(MeshUnreachableError):
            async for _ in client.results("r"):
                pass
    assert clock.now_s == pytest.approx(60, abs=0.1)
