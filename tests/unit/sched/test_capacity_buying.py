"""Machines are bought for what does not fit, in time whatever the market does, and never two for one decision.

A small bazaar plays agents, market and time around the live `step`, placer, planner and buyer: attempts take exactly a
minute of a core, a machine joins exactly its restart after its start.
"""

from __future__ import annotations

import dataclasses
import random

import pytest

from orbit_core.sched.capacity import Buyer, Terms, Want, machines, settle
from orbit_core.sched.estimate import learn_result
from orbit_core.sched.events import (
    AgentAttached,
    AgentDetached,
    AgentDraining,
    AgentLost,
    AttemptStarted,
    AttemptSucceeded,
    CapacityChanged,
    CapacityChosen,
    Placed,
    RunCreated,
    RunPaused,
    TermBegan,
)
from orbit_core.sched.invariants import violations
from orbit_core.sched.model import AgentFacts, AttemptKey, ObjectAddress, Outputs, RunStatus, TriggerFacts, Usage
from orbit_core.sched.place import Placer
from orbit_core.sched.plan import Planner
from orbit_core.sched.shortfall import INSTANCE_LABEL, Offer, shortfalls
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.step import step
from orbit_core.sched.touch import touched_runs
from orbit_core.sched.workflow import Need, StepPlan, Workflow
from orbit_core.spec.models import RetryPolicy
from orbit_core.store import codec

MINUTE_MS = 60_000
TICK_MS = 10_000
RESTART_MS = 90_000
BEGAN_MS = 1_000_000
TERMS = Terms(mesh="t", tick_ms=TICK_MS, most=6)
SATELLITES = ("satellite/t/many", "satellite/t/work")


def plan_of(index: int, name: str, needs: tuple[int, ...], cpu_milli: int, typical_ms: int) -> StepPlan:
    need = Need(cpu_milli, 1 << 20)
    return StepPlan(index, name, "main", f"satellite/t/{name}", needs, RetryPolicy(), need, 10 * MINUTE_MS, typical_ms)


def flow(sla_ms: int) -> Workflow:
    return Workflow("test/flow", sla_ms, (plan_of(0, "many", (), 100, 100), plan_of(1, "work", (0,), 1_000, MINUTE_MS)))


def facts(name: str, cpus: int, price: float, **more: object) -> AgentFacts:
    known = AgentFacts(name, "1", f"{name}:1", 1_000 * cpus, 8 << 30, (), price, satellites=SATELLITES)
    return dataclasses.replace(known, **more)  # type: ignore[arg-type]


def offer(name: str = "zone", cpus: int = 1, **more: object) -> Offer:
    made = Offer(name, facts("", cpus, 0.0, satellites=()), 64, RESTART_MS, 0.03, 0.10, available=True)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


class Bazaar:
    """One run of `tasks` minutes of work on an agent with one core at `price`, and a market around it."""

    def __init__(self, tasks: int, sla_ms: int, *offers: Offer, terms: Terms = TERMS, price: float = 0.02) -> None:
        self.state = MeshState()
        self.now_ms = BEGAN_MS
        self.offers = offers or (offer(),)
        self.terms = terms
        self.buyer = Buyer(terms)
        self.placer, self.planner = Placer(), Planner(every_ms=TICK_MS)
        self.started: list[str] = []
        self.joins: dict[str, int] = {}
        self.refuses: set[str] = set()  # kinds of which none is to be had when a start is tried
        self.bill: dict[str, int] = {"spot": 0, "on-demand": 0}
        self._ends: list[tuple[int, AttemptKey, str]] = []
        workflow = self.state.workflows["spec"] = flow(sla_ms)
        for _ in range(20):
            learn_result(self.state.estimates, workflow.steps[1], "cpu", MINUTE_MS, 1 << 20, 0)
        self.tell(AgentAttached(facts("there", 1, price)))
        trigger = TriggerFacts("api-call", self.now_ms, "now")
        self.tell(RunCreated("run", "test/flow", "spec", trigger, ObjectAddress(json="{}"), BEGAN_MS + sla_ms))
        self.place()
        ((_, key, agent),) = self._ends
        self._ends.clear()
        outputs = Outputs(inline=tuple(f'{{"n":{number}}}' for number in range(tasks)))
        self.tell(AttemptSucceeded(key, agent, outputs, Usage(duration_ms=100)))

    @property
    def run(self) -> Run:
        return self.state.runs["run"]

    def tell(self, event) -> None:
        before = {run.id: codec.encode(run) for run in self.state.runs.values()}
        announced = touched_runs(self.state, event, self.now_ms)
        step(self.state, event, self.now_ms)
        assert violations(self.state) == []
        changed = [run_id for run_id, seen in before.items() if codec.encode(self.state.runs[run_id]) != seen]
        assert set(changed) <= set(announced)

    def place(self) -> None:
        plan = self.planner.plan(self.state, self.now_ms)
        decided = self.placer.place(self.state, None, plan)
        if not decided.placements:
            return
        self.tell(Placed(decided.placements))
        for each in decided.placements:
            attempt = self.run.invocations[each.invocation_id].attempt
            key = AttemptKey(each.run_id, each.invocation_id, attempt)
            self.tell(AttemptStarted(key, each.agent_id))
            self._ends.append((self.now_ms + MINUTE_MS, key, each.agent_id))

    def look(self) -> list[Want]:
        return self.buyer.look(self.state, self.offers, self.now_ms)

    def buy(self) -> list[CapacityChosen]:
        """One round of the leader: what became of machines, what is wanted, what is started."""
        present = [name for name in self.started if name in machines(self.state)]
        for changed in settle(self.state, present, {each.name: each.restart_ms for each in self.offers}, self.now_ms):
            self.tell(changed)
        chosen = self.buyer.choose(self.look())
        for each in chosen:
            self.tell(each)
            if each.name:
                self._start(each)
        return chosen

    def _start(self, chosen: CapacityChosen) -> None:
        refused = chosen.kind in self.refuses
        if not refused:
            assert chosen.name not in self.started, "one decision bought two machines"
            self.started.append(chosen.name)
            self.joins[chosen.name] = self.now_ms + RESTART_MS
        what = "refused" if refused else "started"
        self.tell(CapacityChanged(chosen.run_id, chosen.lane, chosen.name, what))

    def tick(self) -> None:
        wanted = machines(self.state)
        for name, at_ms in list(self.joins.items()):
            if at_ms <= self.now_ms and name in wanted:
                self.join(name)
        self.buy()
        self.place()
        for _, _, machine in machines(self.state).values():
            self.bill[machine.kind] += TICK_MS
        self.now_ms += TICK_MS
        due = [each for each in self._ends if each[0] <= self.now_ms]
        self._ends = [each for each in self._ends if each[0] > self.now_ms]
        for _, key, agent in due:
            self.tell(AttemptSucceeded(key, agent, Outputs(inline=("{}",)), Usage(duration_ms=MINUTE_MS)))
        for name in [name for name in self.state.agents if name.startswith("orbit-")]:
            if name not in machines(self.state):
                self.lose(name)

    def join(self, name: str) -> None:
        machine = machines(self.state)[name][2]
        del self.joins[name]
        label = ((INSTANCE_LABEL, name),)
        self.tell(AgentAttached(facts(name, 1, 0.03, price_kind=machine.kind, labels=label)))

    def lose(self, name: str) -> None:
        self._ends = [each for each in self._ends if each[2] != name]
        self.tell(AgentLost(name, "1", announced=True))

    def finish(self) -> None:
        while not self.run.ended:
            assert self.now_ms < BEGAN_MS + 100 * MINUTE_MS, "the run does not end"
            self.tick()

    def hold(self) -> str:
        """Ticks until a machine of the run has joined; its name."""
        while not any(machine.joined for _, _, machine in machines(self.state).values()):
            self.tick()
        return next(name for name, (_, _, machine) in machines(self.state).items() if machine.joined)


def test_nothing_is_bought_for_what_the_agents_there_can_do():
    bazaar = Bazaar(10, 20 * MINUTE_MS)
    bazaar.finish()
    assert (bazaar.run.bought, bazaar.started, bazaar.run.status) == ({}, [], RunStatus.SUCCEEDED)
    assert bazaar.buyer.note(bazaar.run) == "nothing: the agents that are there can end it in time"


def test_what_does_not_fit_is_done_on_spot_and_given_back():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    bazaar.buy()
    assert bazaar.run.bought == {}, "one look is no ground to buy on"
    bazaar.finish()
    assert (bazaar.run.status, bazaar.run.ended_ms <= bazaar.run.deadline_ms) == (RunStatus.SUCCEEDED, True)
    assert len(bazaar.started) == 1
    assert bazaar.bill["on-demand"] == 0
    assert machines(bazaar.state) == {}, "a run that has ended wants nothing"
    assert 9 * MINUTE_MS < bazaar.bill["spot"] < 18 * MINUTE_MS, "about as long as the work and the restart"


def test_a_machine_is_given_back_when_the_rest_fits():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    bazaar.hold()
    bazaar.tell(AgentAttached(facts("more", 8, 0.05)))
    for _ in range(15):
        bazaar.tick()
    assert not bazaar.run.ended
    assert machines(bazaar.state) == {}


def test_as_many_lanes_as_it_takes_and_never_more_than_the_most():
    bazaar = Bazaar(90, 20 * MINUTE_MS)
    bazaar.finish()
    assert bazaar.run.ended_ms <= bazaar.run.deadline_ms
    assert 4 <= len(bazaar.run.bought) <= TERMS.most
    few = Bazaar(90, 20 * MINUTE_MS, terms=dataclasses.replace(TERMS, most=2))
    for _ in range(30):
        few.tick()
        assert len(machines(few.state)) <= 2
    assert "no more than 2 machines are bought at once" in few.buyer.note(few.run)


@pytest.mark.parametrize("seed", range(9))
def test_the_deadline_is_kept_whatever_spot_does(seed: int):
    """Spot machines are lost, and none are to be had, at random; on-demand can always be had.

    The agent that is there is cheaper than spot, or between spot and on-demand, or dearer than both.
    """
    rng = random.Random(seed)
    zones = [offer(name) for name in ("a", "b")[: 1 + seed % 2]]
    bazaar = Bazaar(rng.randint(26, 60), 25 * MINUTE_MS, *zones, price=(0.02, 0.05, 0.5)[seed % 3])
    loss, scarce = rng.uniform(0.005, 0.1), rng.random() * 0.7
    while not bazaar.run.ended:
        for name in [name for name in bazaar.state.agents if name.startswith("orbit-")]:
            known = machines(bazaar.state).get(name)
            if known is not None and known[2].kind == "spot" and rng.random() < loss:
                bazaar.lose(name)
        up = [dataclasses.replace(zone, available=rng.random() > scarce) for zone in zones]
        bazaar.offers = tuple(up)
        bazaar.refuses = {"spot"} if rng.random() < scarce else set()
        bazaar.tick()
        assert bazaar.now_ms <= BEGAN_MS + 30 * MINUTE_MS, "it goes on long after its deadline"
    assert bazaar.run.ended_ms <= bazaar.run.deadline_ms


def test_a_new_leader_goes_on_with_the_same_memory_and_the_same_machine():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    bazaar.hold()
    run = codec.decode(Run, codec.encode(bazaar.run))
    assert run == bazaar.run
    (want,) = bazaar.look()
    heir = Buyer(TERMS)
    (inherited,) = heir.look(bazaar.state, bazaar.offers, bazaar.now_ms)
    assert inherited == want
    mine, heirs = bazaar.buyer.choose([want]), heir.choose([inherited])
    assert mine == heirs, "the same machine, and the same memory from now on"
    assert mine[0].name == ""
    bazaar.buyer = heir
    bazaar.tell(TermBegan(2))
    bazaar.buy()
    assert len(bazaar.started) == 1, "agents that have yet to find the new leader are not gone"


def test_what_is_held_stays_held_until_its_successor_is_there():
    bazaar = Bazaar(28, 20 * MINUTE_MS, offer(available=False))
    held = bazaar.hold()
    lane = bazaar.run.bought[0]
    assert lane.held is not None
    assert lane.held.kind == "on-demand"
    for what, kept in (("refused", held), ("started", "successor")):
        bazaar.tell(CapacityChosen("run", 0, "spot", "zone", "successor", 1_000, lane.memory))
        assert set(machines(bazaar.state)) == {held, "successor"}, "neither may be stopped now"
        bazaar.tell(CapacityChanged("run", 0, "successor", what))
        assert set(machines(bazaar.state)) == {kept}


def test_a_refused_start_is_another_decision_the_next_time():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    bazaar.refuses = {"spot"}
    names = [each.name for _ in range(5) for each in bazaar.buy() if each.name]
    assert len(names) == len(set(names)) >= 2
    assert all(len(name) <= 60 for name in names)
    other = Bazaar(28, 20 * MINUTE_MS)
    assert [each.name for _ in range(2) for each in other.buy()] == names[:1], "the same decision has the same name"


def test_a_machine_is_lost_with_its_agent_and_not_before():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    name = bazaar.hold()
    restarts = {"zone": RESTART_MS}
    bazaar.tell(AgentDetached(name, "1"))
    assert settle(bazaar.state, [], restarts, bazaar.now_ms) == [], "a stream that broke is waited for"
    bazaar.tell(AgentDraining(name))
    lost = [CapacityChanged("run", 0, name, "lost")]
    assert settle(bazaar.state, [name], restarts, bazaar.now_ms) == lost, "its end has been announced"
    bazaar.lose(name)
    assert settle(bazaar.state, None, restarts, bazaar.now_ms) == lost


def test_a_machine_that_never_joins_is_given_up():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    bazaar.buy()
    bazaar.buy()
    ((name, (_, _, machine)),) = machines(bazaar.state).items()
    restarts = {"zone": RESTART_MS}

    def found(present, after_ms: int):
        return [each.what for each in settle(bazaar.state, present, restarts, machine.since_ms + after_ms)]

    assert found([], RESTART_MS) == [], "a provider's list may be behind"
    assert found([], RESTART_MS + 1) == ["lost"]
    assert found(None, RESTART_MS + 1) == found([name], RESTART_MS + 1) == []
    assert found([name], 3 * RESTART_MS + MINUTE_MS + 1) == ["lost"]


def test_nothing_is_bought_where_it_would_not_help():
    small = Bazaar(28, 20 * MINUTE_MS, offer(facts=facts("", 1, 0.0, cpu_milli=500, satellites=())))
    other = Bazaar(28, 20 * MINUTE_MS, offer(facts=facts("", 1, 0.0, satellites=("satellite/t/other",))))
    for bazaar in (small, other):
        assert bazaar.buy() == bazaar.buy() == []
        assert "fits on no machine that can be bought" in bazaar.buyer.note(bazaar.run)
    short = Bazaar(30, 80_000)
    assert short.buy() == short.buy() == []
    assert "too late" in short.buyer.note(short.run)


def test_a_paused_run_gives_its_machines_back():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    bazaar.hold()
    bazaar.tell(RunPaused("run", "its budget is spent"))
    for name in list(bazaar.state.agents):
        bazaar.lose(name)
    bazaar.buy()
    bazaar.buy()
    assert machines(bazaar.state) == {}


def test_what_nobody_knows_yet_does_not_wait_for_a_better_market():
    """Spot may come back, and there is time: known work waits for it. Unknown work sends one machine ahead."""
    known = Bazaar(28, 40 * MINUTE_MS, offer(available=False))
    known.lose("there")
    unknown = Bazaar(28, 40 * MINUTE_MS, offer(available=False))
    unknown.lose("there")
    unknown.state.estimates.samples.clear()
    for bazaar in (known, unknown):
        bazaar.buy()
    assert {each.kind for each in known.buy()} == {"none"}
    assert [each.kind for each in unknown.buy()][:1] == ["on-demand"]
    unknown.buy()
    assert len(unknown.started) == 1, "and it stays"


def test_the_shortfall_is_the_time_on_one_machine_however_many_it_holds():
    bazaar = Bazaar(28, 20 * MINUTE_MS)
    one = shortfalls(bazaar.state, [offer()], bazaar.now_ms)["run"]
    four = shortfalls(bazaar.state, [offer(cpus=4)], bazaar.now_ms)["run"]
    two_at_once = shortfalls(bazaar.state, [offer(cpus=4, slots=2)], bazaar.now_ms)["run"]
    assert 8 * MINUTE_MS < one.machine_ms < 12 * MINUTE_MS
    assert four.machine_ms < two_at_once.machine_ms < one.machine_ms
    both = shortfalls(bazaar.state, [offer(), offer("large", cpus=4)], bazaar.now_ms)["run"]
    assert both.machine_ms == one.machine_ms, "it has to be in time on the smaller one too"
    assert bazaar.now_ms < one.due_ms <= bazaar.run.deadline_ms
