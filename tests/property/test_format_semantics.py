"""Live `step`, placer, assignments and the agent's executor against the reference interpreter of the format.

The live side runs without processes, clocks and sockets, in a random order of completion, with attempts that fail for
the moment, agents that are lost, results that come late or twice. Whatever happens on the way, the same lineages must
take the same inputs, return the same objects, fail with the same errors and end the run in the same state.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from orbit_agent.executor import Executor
from orbit_agent.workers.api import Call, Outcome
from orbit_coordinator import assignments
from orbit_coordinator.compile import compile_workflow
from orbit_coordinator.streams import result_event
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.sched import lineage, takeover
from orbit_core.sched.commands import AckResult, Command, Dispatch, StopAttempt
from orbit_core.sched.events import (
    AgentAttached,
    AgentLost,
    AttemptFailed,
    AttemptReturned,
    AttemptStarted,
    Event,
    Placed,
    ResultsTakenOver,
    RunCreated,
    TimePassed,
)
from orbit_core.sched.invariants import violations
from orbit_core.sched.lineage import addresses
from orbit_core.sched.model import AgentFacts, AttemptKey, Failure, ObjectAddress, TriggerFacts, Usage
from orbit_core.sched.model import Status as LiveStatus
from orbit_core.sched.place import Placer
from orbit_core.sched.state import Invocation as LiveInvocation
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step as live_step
from orbit_core.spec.catalog import SatelliteInfo
from orbit_core.spec.loader import load_document
from orbit_core.spec.models import Cluster, SatelliteRef
from orbit_core.store.blobs import MemoryBlobs, read_blob
from tests.property.format_reference import UNRESOLVED, Failed, Lineage, Reference

ANY = "satellite/test/any"
INVOCATIONS_MAX = 220


class AnyCatalog:
    """One satellite that takes whatever it is given."""

    def resolve(self, ref: SatelliteRef) -> SatelliteInfo | None:
        return SatelliteInfo(ANY, timeout_ms=60_000) if ref.full_name == ANY else None

    def names(self) -> Sequence[str]:
        return (ANY,)


# Random clusters.


@dataclass
class Nature:
    """How the satellite of one step behaves: how many objects at most, and how many of 100 inputs fail."""

    fan: int
    fixed: bool
    failing: int


@dataclass
class Case:
    """A cluster as a file says it (`document`), with everything said (`whole`), and what its satellites do."""

    document: dict[str, Any]
    whole: dict[str, Any]
    natures: dict[str, Nature]
    payload: dict[str, Any]

    def behave(self, step: str, config: dict[str, Any], given: dict[str, Any]) -> list[dict[str, Any]]:
        """By content alone, so that both sides get the same from the same."""
        nature = self.natures[step]
        known = {key: value for key, value in given.items() if key != "why"}
        text = json.dumps([step, config, known], sort_keys=True)
        digest = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        if digest % 100 < nature.failing:
            raise Failed(f"boom {step} {digest % 1000}")
        count = nature.fan if nature.fixed else digest // 100 % (nature.fan + 1)
        large = {"pad": "x" * 5_000} if digest % 7 == 0 else {}
        return [{"n": n, "k": digest % 10**6, **({"maybe": n} if n % 2 == 0 else {}), **large} for n in range(count)]


class Drawing:
    """Draws the steps of one block, remembering what an invocation of each sees: one object, or lists."""

    def __init__(self, draw: Callable[..., Any], prefix: str) -> None:
        self._draw = draw
        self._prefix = prefix
        self.written: list[dict[str, Any]] = []
        self.whole: list[dict[str, Any]] = []
        self.natures: dict[str, Nature] = {}
        self.spines: dict[str, list[str]] = {}
        self.ancestors: dict[str, set[str]] = {}

    def add(self, shape: str, seen: list[str]) -> None:
        """One more step. `seen`: references that every step of this block may make."""
        draw, names = self._draw, [step["identifier"] for step in self.whole]
        name = f"{self._prefix}{len(names)}"
        written: dict[str, Any] = {"uses": ANY, "identifier": name}
        whole: dict[str, Any] = {"identifier": name}
        needs = self._needs(shape, names)
        if needs != names[-1:] or draw(st.booleans()):
            written["needs"] = needs
        whole["needs"] = needs
        lines = [[*self.spines[need], need] for need in needs]
        spine = lines[0] if lines else []
        if shape in ("gather", "several") and needs:
            spine = self._gather(written, whole, needs, lines)
        self.spines[name] = spine
        self.ancestors[name] = set(needs).union(*(self.ancestors[need] for need in needs)) if needs else set()
        self._references(name, written, whole, seen)
        self.written.append(written)
        self.whole.append(whole)
        fan = draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3, 3, 50]))
        self.natures[name] = Nature(fan, draw(st.booleans()), draw(st.sampled_from([0, 0, 0, 10, 40])))

    def _needs(self, shape: str, names: list[str]) -> list[str]:
        if not names or shape == "root":
            return []
        if shape == "several" and len(names) > 1:
            return self._draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
        return [self._draw(st.sampled_from(names))] if shape in ("branch", "gather") else names[-1:]

    def _gather(
        self, written: dict[str, Any], whole: dict[str, Any], needs: list[str], lines: list[list[str]]
    ) -> list[str]:
        """Says what is gathered, in one of the ways there are; the steps of which one object is still seen."""
        common: list[str] = []
        for names in zip(*lines, strict=False):
            if len(set(names)) > 1:
                break
            common.append(names[0])
        if len(needs) == 1:
            common.pop()  # a step is not gathered over what it needs alone
        over = common[-1] if len(needs) > 1 and common else "run"
        when = "all-succeeded"
        form = self._draw(st.sampled_from(["short", "when", "whole"]))
        if form == "short":
            if len(needs) == 1 or self._draw(st.booleans()):
                written["gather"] = True
        else:
            when = self._draw(st.sampled_from(["all-succeeded", "all-ended"]))
            written["gather"] = {"when": when}
            if form == "whole":
                over = self._draw(st.sampled_from([*common, "run"]))
                written["gather"]["over"] = over
        whole["gather"] = {"over": over, "when": when}
        return [] if over == "run" else [*self.spines[over], over]

    def _references(self, name: str, written: dict[str, Any], whole: dict[str, Any], seen: list[str]) -> None:
        draw = self._draw
        single = [*seen, *(f"satellites.{step}.output" for step in self.spines[name])]
        lists = [f"satellites.{step}.outputs" for step in sorted(self.ancestors[name] - set(self.spines[name]))]
        values = [f"{each}.n" for each in single if each.endswith(".output")] + ["trigger.n"]
        texts = [
            *(_reference(each) for each in [*single, *lists, *values]),
            *(f"a {_reference(each)} and {_reference('trigger.n')}" for each in [*values, *lists]),
            *(_reference(f"{each}.maybe") for each in single if each.endswith(".output")),
        ]
        for key in ("config", "input"):
            if draw(st.booleans()):
                chosen = draw(st.lists(st.sampled_from(texts), min_size=1, max_size=2))
                written[key] = whole[key] = {f"{key}{number}": text for number, text in enumerate(chosen)}
        if self._prefix == "f" and draw(st.booleans()):
            written["input"] = whole["input"] = {**whole.get("input", {}), "why": "${{ failure.error }}"}
        if draw(st.integers(0, 3)) == 0:
            number = draw(st.integers(0, 2))
            operator = draw(st.sampled_from(["==", "!=", "!="]))
            written["if"] = whole["if"] = f"{draw(st.sampled_from(values))} {operator} {number}"


def _reference(text: str) -> str:
    return "${{ " + text + " }}"


SHAPES = ["next", "next", "next", "branch", "gather", "several", "several", "root"]


@st.composite
def cases(draw: Callable[..., Any]) -> Case:
    main = Drawing(draw, "s")
    for shape in ["next", *draw(st.lists(st.sampled_from(SHAPES), min_size=0, max_size=5))]:
        main.add(shape, seen=[])
    written: dict[str, Any] = {"satellites": main.written}
    whole: dict[str, Any] = {"satellites": main.whole}
    natures = dict(main.natures)
    if draw(st.booleans()):
        origin = draw(st.sampled_from([step["identifier"] for step in main.whole]))
        seen = ["failure.satellite", *(f"satellites.{step}.output" for step in main.spines[origin])]
        failure = Drawing(draw, "f")
        for shape in ["next", *draw(st.lists(st.sampled_from(["next", "branch", "gather", "root"]), max_size=2))]:
            failure.add(shape, seen)
        written["failure"] = {"from": origin, "satellites": failure.written}
        whole["failure"] = {"from": origin, "satellites": failure.whole}
        for name, nature in failure.natures.items():
            natures[name] = Nature(min(nature.fan, 2), nature.fixed, nature.failing)
    head = {"identifier": "test/random", "sla": "1h", "trigger": {"api-call": True}, "retries": 100}
    document = {"version": "0.0.1b", "cluster": {**head, **written}}
    return Case(document, whole, natures, {"n": draw(st.integers(0, 2)), "s0": "payload"})


# The live side.


class Pool:
    """In the place of worker processes: what the satellite does, and a note of how it was called."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.calls: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    async def run(self, call: Call, on_object: Callable[[dict[str, Any]], Awaitable[None]]) -> Outcome:
        config, given = dict(call.config), dict(call.input)
        known = self.calls.setdefault(call.invocation_id, (config, given))
        assert known == (config, given), "each attempt is given the same"
        try:
            for value in self._case.behave(call.step, config, given):
                await on_object(value)
        except Failed as error:
            return Outcome("failed", "boom", str(error), False, 5, 0, 0, 0)
        return Outcome("succeeded", "", "", False, 5, 0, 0, 0)


class Fetcher:
    """All blobs are here already."""

    def __init__(self, blobs: MemoryBlobs) -> None:
        self.local = blobs

    async def ensure(self, sha256: str, holders: Sequence[str]) -> None:
        assert sha256 in self.local.contents

    async def share(self, blobs: Sequence[common_pb2.BlobRef]) -> None: ...


@dataclass
class Live:
    """A mesh of two agents without processes; `rng` decides what happens next."""

    case: Case
    cluster: Cluster
    rng: random.Random
    state: MeshState = field(default_factory=MeshState)
    now_ms: int = 1_000_000
    under_way: list[tuple[str, AttemptKey]] = field(default_factory=list)
    late: list[Event] = field(default_factory=list)
    said: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.pool = Pool(self.case)
        fetcher: Any = Fetcher(self.blobs)
        pool: Any = self.pool
        self.executor = Executor(pool, fetcher, self.blobs, fetcher)
        self.placer = Placer()
        self.sessions = 0
        self.state.workflows["spec"] = compile_workflow(self.cluster, AnyCatalog())

    def tell(self, event: Event) -> None:
        commands: list[Command] = live_step(self.state, event, self.now_ms)
        assert violations(self.state) == []
        for command in commands:
            if isinstance(command, Dispatch):
                self.under_way.append((command.agent_id, command.key))
            elif isinstance(command, StopAttempt) and (command.agent_id, command.key) in self.under_way:
                self.under_way.remove((command.agent_id, command.key))
            assert not isinstance(command, AckResult) or command.agent_id

    def attach(self, name: str) -> None:
        self.sessions += 1
        facts = AgentFacts(name, str(self.sessions), f"{name}:1", 800, 1 << 40, satellites=(ANY,))
        self.tell(AgentAttached(facts))

    async def run(self) -> Run:
        for name in ("one", "two"):
            self.attach(name)
        self.tell(self._created("run-1"))
        return await self._to_the_end(self.state.runs["run-1"])

    async def retry(self, old: Run) -> Run:
        """A retry of a run that has ended, once whatever made it fail is gone."""
        for nature in self.case.natures.values():
            nature.failing = 0
        results = takeover.of_run(old, self.state.workflow(old))
        self.tell(replace(self._created("run-2"), retry_of=old.id, takes_over=True))
        *parts, last = takeover.parts_of(results)
        for part in parts:
            self.tell(ResultsTakenOver("run-2", part, final=False))
        self.tell(ResultsTakenOver("run-2", last, final=True))
        run = await self._to_the_end(self.state.runs["run-2"])
        assert run.taken_over == len(results), "what can be taken over is"
        assert not run.takeovers and not run.newly_made
        return run

    def _created(self, run_id: str) -> RunCreated:
        trigger = TriggerFacts("api-call", self.now_ms, "now")
        payload = ObjectAddress(json=json.dumps(self.case.payload))
        return RunCreated(run_id, "test/random", "spec", trigger, payload, self.now_ms + 3_600_000)

    async def _to_the_end(self, run: Run) -> Run:
        while not run.ended:
            await self._go_on(run)
        for event in self.said:
            self.tell(event)  # what comes after the end changes nothing
        return run

    async def _go_on(self, run: Run) -> None:
        decided = self.placer.place(self.state)
        if decided.placements:
            self.tell(Placed(decided.placements))
        chance = self.rng.random()
        if self.late and chance < 0.2:
            self.tell(self.late.pop(self.rng.randrange(len(self.late))))
        elif self.said and chance < 0.3:
            self.tell(self.rng.choice(self.said))
        elif self.under_way and chance < 0.32:
            self._lose(self.rng.choice(["one", "two"]))
        elif self.under_way:
            await self._attempt(*self.under_way.pop(self.rng.randrange(len(self.under_way))))
        elif not self.late:
            due = self.state.next_timer_ms()
            assert due is not None, "nothing goes on, and the run has not ended"
            self.now_ms = max(self.now_ms + 1, due)
            self.tell(TimePassed(self.rng.random()))

    def _lose(self, name: str) -> None:
        self.under_way = [each for each in self.under_way if each[0] != name]
        self.tell(AgentLost(name, self.state.agents[name].facts.session, announced=True))
        self.attach(name)

    async def _attempt(self, agent: str, key: AttemptKey) -> None:
        found = self.state.invocation(key.run_id, key.invocation_id)
        assert found is not None
        if self.rng.random() < 0.5:
            self.tell(AttemptStarted(key, agent))
        chance = self.rng.random()
        if chance < 0.08:
            self.tell(AttemptReturned(key, agent, "drain"))
        elif chance < 0.2:
            failure = Failure("hiccup", "for the moment")
            self.tell(AttemptFailed(key, agent, failure, Usage(duration_ms=1), self.rng.random()))
        else:
            built = assignments.build(
                self.state, *found, self.cluster, epoch=1, secrets={}, holders=["here:1"], allow_private_addresses=False
            )
            sent = agents_pb2.Assignment.FromString(built.SerializeToString())
            event = result_event(await self.executor.run(sent), agent, self.rng.random())
            self.said.append(event)
            (self.late.append if self.rng.random() < 0.15 else self.tell)(event)

    # What came of it.

    def lineage(self, run: Run, invocation: LiveInvocation) -> Lineage:
        above = run.invocations[invocation.parent] if invocation.parent else None
        name = self.state.step_of(run, invocation).identifier
        return (*(self.lineage(run, above) if above else ()), (name, invocation.index))

    async def story(self, run: Run) -> dict[Lineage, Any]:
        told: dict[Lineage, Any] = {}
        for invocation in run.invocations.values():
            name = self.lineage(run, invocation)
            assert name not in told, "one invocation for each lineage"
            outputs = [await self._read(each) for each in addresses(invocation.outputs)] if invocation.outputs else []
            error = ""
            if invocation.status is LiveStatus.FAILED and invocation.failure is not None:
                error = UNRESOLVED if invocation.failure.code == "reference" else invocation.failure.message
            called = self.pool.calls.get(invocation.id, (None, None))
            told[name] = _told(str(invocation.status), called[0], called[1], outputs, error)
        return told

    async def _read(self, found: ObjectAddress) -> Any:
        if found.page is None:
            return json.loads(found.json or "null")
        return json.loads((await read_blob(self.blobs, found.page.sha256)).splitlines()[found.index])


def _told(status: str, config: Any, given: Any, outputs: Any, error: str) -> tuple[Any, ...]:
    if given is not None and not str(given.get("why", "boom")).startswith("boom"):
        given = {**given, "why": UNRESOLVED}  # how an error is put in words is not the format's business
    return status, config, given, outputs, error


def judge(case: Case) -> tuple[str, dict[Lineage, Any]]:
    """What the reference makes of it: the state that the run ends in, and the story of each lineage."""
    reference = Reference(case.whole, case.payload, case.behave)
    state = reference.run()
    assume(len(reference.invocations) <= INVOCATIONS_MAX)
    return state, {
        each.lineage: _told(each.status, each.config, each.input, each.outputs, each.error)
        for each in reference.invocations
    }


def live_for(case: Case, seed: int) -> Live:
    loaded = load_document(case.document, catalog=AnyCatalog())
    assert loaded.cluster is not None, [each.format() for each in loaded.errors]
    return Live(case, loaded.cluster, random.Random(seed))


MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@MANY
@given(case=cases(), seed=st.integers(0, 2**32), window=st.sampled_from([1, 3, 256]))
def test_the_live_mesh_means_what_the_reference_means(case: Case, seed: int, window: int) -> None:
    state, wanted = judge(case)
    live = live_for(case, seed)

    async def drive() -> None:
        run = await live.run()
        assert await live.story(run) == wanted
        assert str(run.status) == state

    with mock.patch.object(lineage, "FAN_OUT_WINDOW", window):
        asyncio.run(drive())


@MANY
@given(case=cases(), seed=st.integers(0, 2**32), window=st.sampled_from([1, 3, 256]))
def test_a_retry_gives_what_a_run_without_the_failures_gives(case: Case, seed: int, window: int) -> None:
    judge(case)  # for its limit on size
    live = live_for(case, seed)

    async def drive() -> None:
        run = await live.run()
        retried = await live.retry(run)
        state, wanted = judge(case)
        story = await live.story(retried)
        assert {name: _result(told) for name, told in story.items()} == {
            name: _result(told) for name, told in wanted.items()
        }
        called = {name for name, told in story.items() if told[1] is not None}
        assert len(story) - len(called) >= retried.taken_over, "what was taken over is not called again"
        assert str(retried.status) == state

    with mock.patch.object(lineage, "FAN_OUT_WINDOW", window):
        asyncio.run(drive())


def _result(told: tuple[Any, ...]) -> tuple[Any, ...]:
    status, _, _, outputs, error = told
    return status, outputs, error
