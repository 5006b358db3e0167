"""The leader's loop: persist, then act; a run that breaks breaks alone; a term that ends says so."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from orbit_coordinator import leader as leader_module
from orbit_coordinator.leader import Leader
from orbit_core.clock import SystemClock
from orbit_core.errors import FencedError, NotLeaderError
from orbit_core.sched.commands import Command, Dispatch
from orbit_core.sched.events import AgentAttached, RunCreated
from orbit_core.sched.model import ObjectAddress, RunStatus, TriggerFacts
from orbit_core.sched.state import MeshState
from orbit_core.store import codec
from tests.property.sched_worlds import agent, chain


class Journal:
    """Holds records back until it is let go; remembers what was durable."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.durable: list[bytes] = []
        self.error: Exception | None = None

    async def append(self, payloads: Sequence[bytes]) -> int:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.durable += payloads
        return len(self.durable)


class Effects:
    """Remembers what it was asked to do, and how much was durable then."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.done: list[tuple[int, Command]] = []

    def act(self, commands: Sequence[Command]) -> None:
        self.done += [(len(self.journal.durable), command) for command in commands]

    def room(self) -> dict[str, int]:
        return {"a": 100}


class Rig:
    def __init__(self) -> None:
        self.journal = Journal()
        self.effects = Effects(self.journal)
        state = MeshState()
        state.workflows["spec"] = chain(2)
        self.leader = Leader(state, self.journal, self.effects, SystemClock())
        self.task = asyncio.create_task(self.leader.run())

    def dispatched(self) -> list[str]:
        return [command.key.run_id for _, command in self.effects.done if isinstance(command, Dispatch)]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


def run_created(run_id: str) -> RunCreated:
    trigger = TriggerFacts("api-call", 1, "now")
    return RunCreated(run_id, "test/flow", "spec", trigger, ObjectAddress(json="{}"), deadline_ms=2**50)


async def test_nothing_is_done_or_answered_before_it_is_durable(rig: Rig):
    await rig.leader.tell(AgentAttached(agent("a")))
    rig.journal.open.clear()
    told = rig.leader.tell(run_created("run-1"))
    await asyncio.sleep(0.05)
    assert not told.done() and rig.dispatched() == []
    assert "run-1" in rig.leader.state.runs, "the state is ahead, and nobody has been told"
    rig.journal.open.set()
    await told
    assert rig.dispatched() == ["run-1"]
    replayed = [codec.decode_event(data).event for data in rig.journal.durable]
    assert [type(event).__name__ for event in replayed] == ["AgentAttached", "RunCreated", "Placed"]


async def test_what_arrives_while_a_record_is_written_shares_the_next_one(rig: Rig):
    rig.journal.open.clear()
    first = rig.leader.tell(run_created("run-0"))
    await asyncio.sleep(0.01)
    later = [rig.leader.tell(run_created(f"run-{number}")) for number in range(1, 50)]
    calls: list[int] = []
    append = rig.journal.append

    async def counted(payloads: Sequence[bytes]) -> int:
        calls.append(len(payloads))
        return await append(payloads)

    rig.journal.append = counted  # type: ignore[method-assign]
    rig.journal.open.set()
    await asyncio.gather(first, *later)
    assert calls == [49]


async def _until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110  (there is no event for it)
            await asyncio.sleep(0)


async def test_who_asks_for_what_is_being_written_waits_until_it_is_durable(rig: Rig):
    await rig.leader.flushed()  # nothing is under way: at once
    rig.journal.open.clear()
    told = rig.leader.tell(run_created("run-1"))
    await _until(lambda: "run-1" in rig.leader.state.runs)
    waiting = asyncio.create_task(rig.leader.flushed())
    await asyncio.sleep(0)
    assert not waiting.done(), "the state shows what is not durable"
    rig.journal.open.set()
    await waiting
    assert told.done() and rig.journal.durable


async def test_what_was_not_durable_when_the_term_ended_is_nobody_s_answer(rig: Rig):
    rig.journal.open.clear()
    rig.leader.tell(run_created("run-1"))
    await _until(lambda: "run-1" in rig.leader.state.runs)
    waiting = asyncio.create_task(rig.leader.flushed())
    await asyncio.sleep(0)
    rig.journal.error = FencedError()
    rig.journal.open.set()
    with pytest.raises(NotLeaderError):
        await waiting
    with pytest.raises(FencedError):
        await rig.task


async def test_an_event_that_breaks_step_fails_its_run_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    await rig.leader.tell(run_created("run-good"))
    step_module = importlib.import_module("orbit_core.sched.step")
    broken = step_module._HANDLERS[RunCreated]

    def breaks(state: MeshState, event: RunCreated) -> list[Command]:
        commands = broken(state, event)
        if event.run_id == "run-bad":
            raise RuntimeError("a bug")
        return commands

    monkeypatch.setitem(step_module._HANDLERS, RunCreated, breaks)
    await rig.leader.tell(run_created("run-bad"))
    runs = rig.leader.state.runs
    assert runs["run-good"].status is RunStatus.RUNNING
    assert runs["run-bad"].status is RunStatus.FAILED and "a bug" in runs["run-bad"].reason
    kinds = [type(codec.decode_event(data).event).__name__ for data in rig.journal.durable]
    assert kinds == ["RunCreated", "RunBroken"], "the event that broke is not in the journal"


async def test_a_deposed_leader_answers_nobody(rig: Rig):
    rig.journal.error = FencedError()
    told = rig.leader.tell(run_created("run-1"))
    with pytest.raises(FencedError):
        await rig.task
    assert rig.effects.done == []
    late = rig.leader.tell(run_created("run-2"))
    with pytest.raises(NotLeaderError):
        await late
    with pytest.raises(NotLeaderError):
        await told


def test_the_module_knows_nothing_of_grpc():
    assert "grpc" not in leader_module.__dict__
