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
from orbit_core.sched.events import CapacityChanged, CapacityChosen
from orbit_core.sched.market import Choice, Holding, MarketPolicy, MarketView, Pool
from orbit_core.sched.model import AgentStatus
from orbit_core.sched.shortfall import Offer, Shortfall, agents_of_machines, shortfalls
from orbit_core.sched.state import Lane, Machine, MeshState, Run

#: More is bought for a run, or what it holds given back, when so many looks in a row say so.
_SURE_AFTER = 2
#: What a lane's work may take of the time that is left when lanes are counted: the rest is for waiting and losses.
_SHARE = 0.7
#: A machine whose agent has not joined after so many times its restart, and a minute, is given up.
_JOIN_PATIENCE = 3.0
_JOIN_GRACE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Terms:
    """How buying is done. `mesh`: a word in machines' names; `most`: machines at once, for all runs together."""

    mesh: str
    tick_ms: int
    most: int


@dataclass(frozen=True, slots=True)
class Want:
    """One lane that is to be decided on; independent of the state once it is made. `at_once`: it cannot wait."""

    run_id: str
    number: int
    lane: Lane
    view: MarketView
    at_once: bool = False


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
            lanes += math.ceil((need.machine_ms - room_ms) / (_SHARE * left_ms))
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
        # Of work that nobody knows yet, no policy can say how long it may wait: one machine goes ahead.
        ahead = next((other for other, each in run.bought.items() if each.held is not None), 0)
        at_once = need.unknown and number == ahead
        return Want(run.id, number, replace(lane), view, at_once)

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
        if want.at_once and choice.kind == "none":
            choice = Choice("on-demand") if view.holding.kind == "none" else Choice(view.holding.kind)
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
