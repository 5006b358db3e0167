"""What to buy: for each run that the agents which are there cannot end in time, what its market policy wants to hold.

A run's shortfall is what a plan without bought machines says to be late, as time on one bought machine. It is split
into equal lanes, each a job of its own with a `MarketPolicy` of its own that holds one machine at a time; as many
lanes as keep the deadline with time to spare. What was decided becomes an event, policy's memory included, so that
replay never asks and a new leader goes on; a machine's name derives from run, lane and decision, so that one decision
never buys two. Pure: prices and what can be had are handed in; who starts and stops machines is the shell's business.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orbit_core.errors import PreconditionError
from orbit_core.ids import derived_id
from orbit_core.sched._plan.observe import demands, look, observe
from orbit_core.sched._plan.picture import Picture
from orbit_core.sched._plan.pools import can_hold
from orbit_core.sched.estimate import Estimate, estimate, hardware_kind
from orbit_core.sched.events import CapacityChanged, CapacityChosen
from orbit_core.sched.market import Choice, Holding, MarketPolicy, MarketView, Pool
from orbit_core.sched.model import AgentFacts, AgentStatus, RunStatus
from orbit_core.sched.plan import TIME_LIMIT_S, solve
from orbit_core.sched.price import COLD_MODEL_MS, FETCHED_MODEL_MS
from orbit_core.sched.state import Agent, Lane, Machine, MeshState, Run
from orbit_core.sched.workflow import StepPlan

#: The label with a bought machine's name, which its agent carries.
INSTANCE_LABEL = "orbit-instance"
#: More is bought for a run, or what it holds given back, when so many looks in a row say so.
_SURE_AFTER = 2
#: What a lane's work may take of the time that is left when lanes are counted: the rest is for waiting and losses.
_SHARE = 0.6
#: A machine whose agent has not joined after so many times its restart, and a minute, is given up.
_JOIN_PATIENCE = 3.0
_JOIN_GRACE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A pool where machines are sold. `facts`: what the agent of one will be; `available`: a spot one, now.

    No `satellites` in `facts`: they have whatever is needed. `slots`: attempts at once on one at most.
    """

    name: str
    facts: AgentFacts
    slots: int
    restart_ms: int
    spot_usd_per_hour: float
    on_demand_usd_per_hour: float
    available: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """How buying is done. `mesh`: a word in machines' names; `most`: machines at once, for all runs together."""

    mesh: str
    tick_ms: int
    most: int


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What the agents that are there cannot do of a run in time: the time it takes one machine, and by when it must."""

    machine_ms: float
    due_ms: float
    restart_ms: float
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Want:
    """One lane that is to be decided on; independent of the state once it is made."""

    run_id: str
    number: int
    lane: Lane
    view: MarketView


def instance_name(terms: Terms, run_id: str, lane: int, decision: int) -> str:
    """At most 60 characters that any provider takes: the same for the same decision."""
    return derived_id(f"orbit-{terms.mesh}", run_id, lane, decision)


def machines(state: MeshState) -> dict[str, tuple[Run, int, Machine]]:
    """Every machine that a run wants now, by name, with its run and lane."""
    found: dict[str, tuple[Run, int, Machine]] = {}
    for run in state.runs.values():
        if not run.ended:
            for number, lane in run.bought.items():
                for machine in (lane.held, lane.coming):
                    if machine is not None:
                        found[machine.name] = (run, number, machine)
    return found


def agents_of_machines(state: MeshState) -> dict[str, Agent]:
    """The agents on bought machines, by the machine's name."""
    named = ((dict(agent.facts.labels).get(INSTANCE_LABEL), agent) for agent in state.agents.values())
    return {name: agent for name, agent in named if name}


def settle(
    state: MeshState, present: Collection[str] | None, restart_ms: Mapping[str, int], now_ms: int
) -> list[CapacityChanged]:
    """What has become of machines: their agents joined, or they are lost.

    `present`: names of the machines that the provider has, None where that is not known. `restart_ms`: by pool.
    A machine is lost with its agent; before that has joined, when it is not there, or has kept everyone waiting.
    """
    agents = agents_of_machines(state)
    found: list[CapacityChanged] = []
    for name, (run, number, machine) in machines(state).items():
        lane = run.bought[number]
        if machine is not lane.held:
            continue
        agent = agents.get(name)
        there = agent is not None and agent.status is not AgentStatus.DRAINING
        waited_ms, restart = now_ms - machine.since_ms, restart_ms.get(machine.pool, 0)
        absent = present is not None and name not in present and waited_ms > restart
        if there and not machine.joined:
            found.append(CapacityChanged(run.id, number, name, "joined"))
        elif not there and (machine.joined or absent or waited_ms > _JOIN_PATIENCE * restart + _JOIN_GRACE_MS):
            found.append(CapacityChanged(run.id, number, name, "lost"))
    return found


class Buyer:
    """One for a term. Remembers the policies, which the state could give again, and how sure it is of shortfalls."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._policies: dict[tuple[str, int], MarketPolicy] = {}
        self._tight: dict[str, int] = {}
        self._spare: dict[str, int] = {}
        self._notes: dict[str, str] = {}

    def note(self, run: Run) -> str:
        """What is bought for the run, and why, or why not; in one line."""
        held = [
            f"{lane.held.kind} in {lane.held.pool} ({lane.held.name}{'' if lane.held.joined else ', not there yet'})"
            for lane in run.bought.values()
            if lane.held is not None
        ]
        return f"{', '.join(held) or 'nothing'}: {self.why(run.id)}"

    def why(self, run_id: str) -> str:
        """What the last look has found of the run."""
        return self._notes.get(run_id, "the agents that are there can end it in time")

    def look(
        self, state: MeshState, offers: Sequence[Offer], now_ms: int, attempts: Mapping[str, int] | None = None
    ) -> list[Want]:
        """The lanes that have to be decided on now, most urgent first; `attempts` as the planner takes it."""
        found: list[Want] = []
        if not offers:
            return found
        short = shortfalls(state, offers, now_ms, attempts)
        spare = [run for run in state.runs.values() if not run.ended and run.bought and run.id not in short]
        self._tight = {run_id: looks for run_id, looks in self._tight.items() if run_id in short}
        self._spare = {run.id: self._spare.get(run.id, 0) + 1 for run in spare}
        self._notes = {}
        room = self._terms.most - len(machines(state))
        for run_id, need in sorted(short.items(), key=lambda item: (item[1].due_ms, item[0])):
            run = state.runs[run_id]
            if not need.offers:
                self._notes[run_id] = "its work fits on no machine that can be bought"
            else:
                wants = self._of_run(run, need, room, now_ms)
                room -= sum(want.lane.held is None for want in wants)
                found += wants
        for run in spare:
            if self._spare[run.id] >= _SURE_AFTER:  # no work is left for a machine, which its policy has to hear
                done = Shortfall(0.0, float(run.deadline_ms), 0.0, tuple(offers))
                found += [
                    self._want(run, number, lane, done, 0.0, now_ms)
                    for number, lane in run.bought.items()
                    if lane.held is not None
                ]
        self._policies = {key: policy for key, policy in self._policies.items() if key[0] in state.runs}
        return found

    def choose(self, wants: Iterable[Want]) -> list[CapacityChosen]:
        """What each lane's policy decides. Reads nothing of the state, so that a thread may do it."""
        return [self._decide(want) for want in wants]

    # Lanes.

    def _of_run(self, run: Run, need: Shortfall, room: int, now_ms: int) -> list[Want]:
        terms, due_ms = self._terms, need.due_ms - now_ms
        left_ms = due_ms - need.restart_ms  # for a machine that is bought now
        self._notes[run.id] = f"{need.machine_ms / 1000:.0f} s of its work do not fit on the agents that are there"
        if left_ms <= 0:
            self._notes[run.id] += ", and a machine that is bought now would come too late"
            return []  # what is held goes on
        holding = {number: lane.held for number, lane in run.bought.items() if lane.held is not None}
        room_ms = math.fsum(due_ms - self._restart_left_ms(held, need, now_ms) for held in holding.values())
        room_ms += left_ms * (len(run.bought) - len(holding))
        lanes = len(run.bought)
        self._tight[run.id] = self._tight.get(run.id, 0) + 1 if need.machine_ms > room_ms else 0
        if self._tight[run.id] >= _SURE_AFTER:
            lanes = min(terms.most, lanes + math.ceil((need.machine_ms - room_ms) / (_SHARE * left_ms)))
        numbers = [*holding, *(number for number in range(lanes) if number not in holding)]
        numbers = numbers[: len(holding) + max(0, room)]
        if len(numbers) < lanes:
            self._notes[run.id] += f"; no more than {terms.most} machines are bought at once"
        share_ms = need.machine_ms / max(1, len(numbers))
        fresh = Lane(began_ms=now_ms, work_ms=round(share_ms))
        return [
            self._want(run, number, run.bought.get(number, fresh), need, share_ms, now_ms) for number in sorted(numbers)
        ]

    def _want(self, run: Run, number: int, lane: Lane, need: Shortfall, work_ms: float, now_ms: int) -> Want:
        pools = tuple(_pool(offer, lane.held) for offer in need.offers)
        names = [pool.name for pool in pools]
        held = lane.held if lane.held is not None and lane.held.pool in names else None  # else: sold no more
        where = held.pool if held is not None else lane.pool
        view = MarketView(
            now_s=now_ms / 1000,
            started_s=lane.began_ms / 1000,
            deadline_s=(need.due_ms - self._terms.tick_ms) / 1000,  # ticks come late, decisions take time
            work_s=lane.work_ms / 1000,
            work_left_s=work_ms / 1000,
            tick_s=self._terms.tick_ms / 1000,
            restart_s=need.restart_ms / 1000,
            restart_left_s=self._restart_left_ms(held, need, now_ms) / 1000,
            pools=pools,
            holding=Holding(_kind(held), where if where in names else None),
        )
        return Want(run.id, number, replace(lane), view)

    def _restart_left_ms(self, held: Machine | None, need: Shortfall, now_ms: int) -> float:
        """One that should be there by now may come at any moment, and not in this tick."""
        if held is None or held.joined:
            return 0.0
        return max(need.restart_ms - (now_ms - held.since_ms), self._terms.tick_ms)

    def _decide(self, want: Want) -> CapacityChosen:
        lane, view = want.lane, want.view
        policy = self._policies.get((want.run_id, want.number))
        if policy is None:
            policy = self._policies[(want.run_id, want.number)] = _restored(lane.memory)
        choice = policy.decide(view)
        kind, pool = _meant(choice, view)
        keeps = lane.held is not None and (kind, pool) == (lane.held.kind, lane.held.pool)
        starts = kind != "none" and not keeps
        return CapacityChosen(
            run_id=want.run_id,
            lane=want.number,
            kind=kind,
            pool=pool,
            name=instance_name(self._terms, want.run_id, want.number, lane.decisions + 1) if starts else "",
            work_ms=round(view.work_left_s * 1000),
            memory=base64.b64encode(policy.state()).decode(),
        )


def _restored(memory: str) -> MarketPolicy:
    policy = MarketPolicy()
    if memory:
        try:
            policy.restore(base64.b64decode(memory))
        except PreconditionError:  # of another version of Orbit: it learns again, and its deadlines are safe meanwhile
            return MarketPolicy()
    return policy


def _meant(choice: Choice, view: MarketView) -> tuple[str, str]:
    """The market and the pool. Availability is always known here, so that no pool is asked."""
    if choice.kind == "none":
        return "none", ""
    assert choice.kind != "ask"
    return choice.kind, choice.pool or view.holding.pool or view.pools[0].name


def _pool(offer: Offer, held: Machine | None) -> Pool:
    is_held = held is not None and held.kind == "spot" and held.pool == offer.name
    return Pool(offer.name, offer.available or is_held, offer.spot_usd_per_hour, offer.on_demand_usd_per_hour)


def _kind(held: Machine | None) -> Literal["none", "spot", "on-demand"]:
    if held is None:
        return "none"
    return "spot" if held.kind == "spot" else "on-demand"


# Shortfalls.


def shortfalls(
    state: MeshState, offers: Sequence[Offer], now_ms: int, attempts: Mapping[str, int] | None = None
) -> dict[str, Shortfall]:
    """Of each run, what a plan without the bought machines cannot end in time, and what runs on them now."""
    bought = agents_of_machines(state)
    names = dict.fromkeys(agent.facts.id for agent in bought.values())
    others = {agent_id: _as_if_there(agent) for agent_id, agent in state.agents.items() if agent_id not in names}
    without = replace(state, agents=others)
    picture = observe(look(without, now_ms, attempts), demands(state))
    late = _late_by_run(picture, solve(picture, TIME_LIMIT_S).late) if picture.classes else {}
    running = _running_on(state, bought.values(), now_ms)
    found: dict[str, Shortfall] = {}
    for run_id in dict.fromkeys([*late, *running]):
        run = state.runs[run_id]
        steps = state.workflow(run).steps
        parts = [(steps[index], amount, finish_ms) for index, amount, finish_ms in late.get(run_id, [])]
        fitting = tuple(offer for offer in offers if all(_fits(offer, step) for step, _, _ in parts))
        most_ms, due_ms = 0.0, float(run.deadline_ms)
        for offer in fitting:
            machine_ms, by_ms = _on_one(state, offer, parts)
            most_ms, due_ms = max(most_ms, machine_ms), min(due_ms, now_ms + by_ms)
        if run.deadline_ms <= now_ms:
            due_ms = float(run.deadline_ms)
        cold_ms = COLD_MODEL_MS + FETCHED_MODEL_MS if any(step.model for step, _, _ in parts) else 0
        restart_ms = max((offer.restart_ms for offer in fitting), default=0) + cold_ms
        found[run_id] = Shortfall(most_ms + running.get(run_id, 0.0), due_ms, restart_ms, fitting)
    return found


def _as_if_there(agent: Agent) -> Agent:
    """One whose stream has just broken is waited for: nothing is bought in its place before it is lost."""
    return replace(agent, status=AgentStatus.ATTACHED) if agent.status is AgentStatus.DETACHED else agent


def _late_by_run(picture: Picture, late: Mapping[int, float]) -> dict[str, list[tuple[int, float, float]]]:
    """(step, how many attempts are late, when they have to have ended) of each run.

    Where runs were put together into one class, those with its last deadlines are late, as many as it takes.
    """
    found: dict[str, list[tuple[int, float, float]]] = {}
    step_of = {(number, run_id): step for (run_id, step), number in picture.class_of.items()}
    for number, amount in late.items():
        work = picture.classes[number]
        many = min(len(work.runs), math.ceil(amount / work.amount * len(work.runs)))
        for run_id in work.runs[len(work.runs) - many :]:
            found.setdefault(run_id, []).append((step_of[(number, run_id)], amount / many, work.finish_ms))
    return found


def _running_on(state: MeshState, agents: Iterable[Agent], now_ms: int) -> dict[str, float]:
    """For each run, how long its attempts on these agents are expected to take still: the longest of each agent."""
    found: dict[str, float] = {}
    for agent in agents:
        longest: dict[str, float] = {}
        for assigned in agent.assigned.values():
            known = state.invocation(assigned.run_id, assigned.invocation_id)
            if known is None or known[0].status is not RunStatus.RUNNING:
                continue
            step = state.step_of(*known)
            left_ms = _estimate(state, agent.facts, step).mean_ms - (now_ms - known[1].assigned_ms)
            longest[assigned.run_id] = max(longest.get(assigned.run_id, 1.0), left_ms)
        for run_id, left_ms in longest.items():
            found[run_id] = found.get(run_id, 0.0) + left_ms
    return found


def _on_one(state: MeshState, offer: Offer, parts: Iterable[tuple[StepPlan, float, float]]) -> tuple[float, float]:
    """The time that the work takes on one machine, and by when, from now, all of it has to be done.

    The mean of each, and once the spread of them together. One machine keeps every deadline exactly when, for each
    of them, what is due by then is done by then (Jackson 1955): the whole is due when the tightest of these says.
    """
    total_ms, spread = 0.0, 0.0
    done: list[tuple[float, float]] = []
    for step, amount, finish_ms in sorted(parts, key=lambda part: part[2]):
        known = _estimate(state, offer.facts, step)
        rounds = max(1.0, amount / _slots(offer, step))
        total_ms += rounds * known.mean_ms
        spread += rounds * (known.p95_ms - known.mean_ms) ** 2
        done.append((finish_ms, total_ms))
    due_ms = min((finish_ms + total_ms - done_ms for finish_ms, done_ms in done), default=math.inf)
    return total_ms + math.sqrt(spread), due_ms


def _estimate(state: MeshState, facts: AgentFacts, step: StepPlan) -> Estimate:
    return estimate(state.estimates, step, hardware_kind(facts, step))


def _fits(offer: Offer, step: StepPlan) -> bool:
    facts = offer.facts
    return can_hold(facts if facts.satellites else replace(facts, satellites=(step.satellite,)), step)


def _slots(offer: Offer, step: StepPlan) -> int:
    """How many attempts fit on an empty machine."""
    facts, need = offer.facts, step.request
    gpu_milli = need.gpu_milli if need.gpus == 1 and need.gpu_milli else 1000 * need.gpus
    pairs = ((facts.cpu_milli, need.cpu_milli), (facts.memory_bytes, need.memory_bytes))
    fits = [have // want for have, want in (*pairs, (1000 * len(facts.gpus), gpu_milli)) if want]
    return max(1, min([*fits, offer.slots]))
