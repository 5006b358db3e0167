"""The leader's loop: events in, `step`, the journal, commands out, in that order and never otherwise.

One batch at a time: what arrives while a batch is being journaled forms the next one (group commit). A command is
acted on only after its event is durable, so a crash at any line loses nothing that anyone was told. This module
knows nothing of gRPC; who carries commands out is handed in as `Effects`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from orbit_core.clock import Clock
from orbit_core.errors import NotLeaderError, OrbitError
from orbit_core.limits import JOURNAL_BATCH_MAX_BYTES, JOURNAL_BATCH_MAX_EVENTS, KIB
from orbit_core.plants import planted
from orbit_core.sched.commands import Command, RunChanged
from orbit_core.sched.events import (
    AgentAttached,
    AgentChanged,
    AgentDraining,
    AgentLost,
    Event,
    Placed,
    RunBroken,
    RunCreated,
    RunForecast,
    RunResumed,
    TimePassed,
)
from orbit_core.sched.place import Placer, Round
from orbit_core.sched.plan import PLAN_EVERY_MS, Plan, Planner
from orbit_core.sched.state import MeshState
from orbit_core.sched.step import run_of, step
from orbit_core.store.codec import encode_event

log = logging.getLogger(__name__)

#: After one of these the plan rests on a picture that is no longer so.
_CHANGES_PICTURE = (AgentAttached, AgentChanged, AgentDraining, AgentLost, RunCreated, RunResumed)
#: Planning may take this share of the loop's time.
_PLANNING_SHARE = 0.2

#: What one record holds at most, with some room for its framing.
_RECORD_BYTES = JOURNAL_BATCH_MAX_BYTES - 64 * KIB
#: Attempts under way at once, in the whole mesh, while the store is nearly full: enough for what is there to end.
HELD_IN_FLIGHT = 8


class Journal(Protocol):
    """What the loop needs of the journal: it returns once all records are durable."""

    async def append(self, payloads: Sequence[bytes]) -> int: ...


class Effects(Protocol):
    """Whoever carries commands out. `room`: how many more attempts each attached agent takes now."""

    def act(self, commands: Sequence[Command]) -> None: ...

    def room(self) -> dict[str, int]: ...


@dataclass(slots=True)
class _Arrival:
    event: Event
    durable: asyncio.Future[None]


class Leader:
    """Owns the state for one term of leadership. `tell` is safe from any task of the loop."""

    def __init__(
        self,
        state: MeshState,
        journal: Journal,
        effects: Effects,
        clock: Clock,
        *,
        before_step: Callable[[MeshState, Event, int], None] = lambda state, event, now_ms: None,
        after_commit: Callable[[MeshState, int], Awaitable[None]] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.state = state
        self.sequence = 0
        self._journal = journal
        self._effects = effects
        self._clock = clock
        self._before_step = before_step
        self._after_commit = after_commit
        self._rng = rng or random.Random()
        self._placer = Placer()
        self._planner = Planner()
        self.plan: Plan | None = None
        self._plan_not_before_s = 0.0
        self._holding = False
        self._arrivals: asyncio.Queue[_Arrival] = asyncio.Queue()
        self._batch: list[_Arrival] = []  # what is being stepped through and journaled just now
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._stopped = False
        self._nudged = False
        #: Why no new run is taken just now (the store fills up); None: runs are taken.
        self.refusal: OrbitError | None = None
        #: Whether only a little is placed at a time just now, for the same reason.
        self.held = False
        self._time_ms = state.now_ms
        self._read_s = clock.monotonic_s()

    def now_ms(self) -> int:
        """The mesh's time: never behind the state's, and never slower than real time.

        The last leader's clock may have been ahead of this one's, by an hour or by a year: timers that it set are
        reckoned from its time, and must not wait until this clock has caught up.
        """
        if planted("time-stalls-on-failover"):
            return max(self.state.now_ms, self._clock.now_ms())
        read_s = self._clock.monotonic_s()
        passed_ms = (read_s - self._read_s) * 1000
        if passed_ms >= 1:
            self._time_ms += int(passed_ms)
            self._read_s += int(passed_ms) / 1000
        self._time_ms = max(self._time_ms, self.state.now_ms, self._clock.now_ms())
        return self._time_ms

    def draw(self) -> float:
        """A random number in [0, 1) for an event that needs one; replay finds it in the journal."""
        return self._rng.random()

    def tell(self, event: Event) -> asyncio.Future[None]:
        """Puts an event in; the future is done when it is durable.

        NotLeaderError when the term is over; for a new run, StoreFullError while the store has no room for it.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Most tellers do not wait: an exception that nobody asks for is not worth a warning.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._stopped:
            future.set_exception(NotLeaderError("this coordinator no longer leads"))
            return future
        if self.refusal is not None and isinstance(event, RunCreated) and event.run_id not in self.state.runs:
            future.set_exception(self.refusal)
            return future
        self._arrivals.put_nowait(_Arrival(event, future))
        return future

    async def flushed(self) -> None:
        """Returns when all that the state shows now is durable. NotLeaderError when the term ends before.

        The state is ahead of the journal while a batch is being written: nobody may be told of an end, or that
        something is there, on the strength of what might never have been.
        """
        if self._batch and not planted("told-before-durable"):
            await asyncio.shield(self._batch[-1].durable)

    def nudge(self) -> None:
        """Has the placer look again (an agent has room again) though nothing else happened."""
        if not self._nudged:
            self._nudged = True
            self.tell(TimePassed(self.draw()))

    async def run(self) -> None:
        """Until cancelled or deposed (FencedError)."""
        try:
            while True:
                self._batch = await self._next_batch()
                events, commands = self._apply([arrival.event for arrival in self._batch])
                if events:
                    if planted("answer-before-persist"):
                        self._answer()
                    if planted("effect-before-persist"):
                        self._effects.act(commands)
                        commands = []
                    await self._persist(events)
                    self._effects.act(commands)
                    self._notify(commands)
                self._answer()
                self._batch = []
                if events and self._after_commit is not None:
                    await self._after_commit(self.state, self.sequence)
        finally:
            self._stop()

    def _answer(self) -> None:
        for arrival in self._batch:
            if not arrival.durable.done():
                arrival.durable.set_result(None)

    # One batch.

    async def _next_batch(self) -> list[_Arrival]:
        batch: list[_Arrival] = []
        due = self._due_ms()
        if due is None:
            batch.append(await self._arrivals.get())
        else:
            wait_s = max(0.0, (due - self.now_ms()) / 1000)
            try:
                async with asyncio.timeout(wait_s):
                    batch.append(await self._arrivals.get())
            except TimeoutError:
                batch.append(_Arrival(TimePassed(self.draw()), asyncio.get_running_loop().create_future()))
        while len(batch) < JOURNAL_BATCH_MAX_EVENTS and not self._arrivals.empty():
            batch.append(self._arrivals.get_nowait())
        return batch

    def _due_ms(self) -> int | None:
        """When the loop has to look again though nothing arrives: a timer, or work that is held back."""
        due = self.state.next_timer_ms()
        if not self._holding or self.plan is None:
            return due
        again = self.plan.made_ms + PLAN_EVERY_MS
        return again if due is None else min(due, again)

    def _apply(self, arrived: Sequence[Event]) -> tuple[list[tuple[int, Event]], list[Command]]:
        """Steps through events and one placement round; what is returned has changed the state already."""
        self._nudged = False
        now_ms = self.now_ms()
        events: list[tuple[int, Event]] = []
        commands: list[Command] = []
        for event in arrived:
            quiet = isinstance(event, TimePassed) and (self.state.next_timer_ms() or now_ms + 1) > now_ms
            if not quiet:  # a nudge that finds no timer due changes nothing, and need not be kept
                self._step(event, now_ms, events, commands)
        for forecast in self._replan(arrived, now_ms):
            self._step(forecast, now_ms, events, commands)
        decided = self._place()
        for pause in decided.pauses:
            self._step(pause, now_ms, events, commands)
        if decided.placements:
            self._step(Placed(decided.placements), now_ms, events, commands)
        return events, commands

    def _replan(self, arrived: Sequence[Event], now_ms: int) -> list[RunForecast]:
        """Makes a new plan when it is time to; what it newly knows of deadlines. Without one nothing is held back."""
        if not self.state.ready:
            return []
        changed = any(isinstance(event, _CHANGES_PICTURE) for event in arrived)
        fresh = self.plan is not None and 0 <= now_ms - self.plan.made_ms < PLAN_EVERY_MS
        began_s = self._clock.monotonic_s()
        if (fresh and not changed) or began_s < self._plan_not_before_s:
            return []
        try:
            self.plan = self._planner.plan(self.state, now_ms, self._effects.room())
            found = self._planner.forecasts(self.state, self.plan)
        except Exception:
            log.exception("planning failed; work is placed without a plan")
            self.plan, found = None, []
        ended_s = self._clock.monotonic_s()
        self._plan_not_before_s = ended_s + (ended_s - began_s) * (1 / _PLANNING_SHARE - 1)
        return [RunForecast(run_id, late) for run_id, late in found]

    def _place(self) -> Round:
        """One placement round; a placer that breaks is made anew, since what it remembers can be derived."""
        try:
            decided = self._placer.place(self.state, self._room(), self.plan)
            self._holding = decided.held
            return decided
        except Exception:
            log.exception("a placement round failed; nothing is placed in it")
            self._placer = Placer()
            return Round((), ())

    def _room(self) -> dict[str, int]:
        """How many more attempts each agent takes; nearly none while work is held."""
        room = self._effects.room()
        if not self.held:
            return room
        left = max(0, HELD_IN_FLIGHT - sum(len(agent.assigned) for agent in self.state.agents.values()))
        thinned: dict[str, int] = {}
        for agent_id, free in room.items():
            thinned[agent_id] = min(free, left)
            left -= max(0, thinned[agent_id])
        return thinned

    def _step(self, event: Event, now_ms: int, events: list[tuple[int, Event]], commands: list[Command]) -> None:
        self._before_step(self.state, event, now_ms)
        try:
            commands += step(self.state, event, now_ms)
        except Exception as error:
            run_id = run_of(event)
            log.exception("an event failed: %s", type(event).__name__)
            if run_id is None or isinstance(event, RunBroken):
                raise
            broken = RunBroken(run_id, f"{type(error).__name__}: {error}"[:2000])
            commands += step(self.state, broken, now_ms)
            events.append((now_ms, broken))
            return
        events.append((now_ms, event))

    async def _persist(self, events: Sequence[tuple[int, Event]]) -> None:
        """All of them, in order, in as many records as they need; durable when this returns."""
        record: list[bytes] = []
        size = 0
        for now_ms, event in events:
            payload = encode_event(event, now_ms)
            if record and (size + len(payload) > _RECORD_BYTES or len(record) >= JOURNAL_BATCH_MAX_EVENTS):
                self.sequence = await self._journal.append(record)
                record, size = [], 0
            record.append(payload)
            size += len(payload)
        self.sequence = await self._journal.append(record)

    # Watching.

    def watch(self, run_id: str) -> asyncio.Event:
        """An event that is set whenever the run has changed. Give it back with `unwatch`."""
        changed = asyncio.Event()
        self._watchers.setdefault(run_id, set()).add(changed)
        return changed

    def unwatch(self, run_id: str, changed: asyncio.Event) -> None:
        watchers = self._watchers.get(run_id)
        if watchers is not None:
            watchers.discard(changed)
            if not watchers:
                del self._watchers[run_id]

    def _notify(self, commands: Sequence[Command]) -> None:
        for run_id in dict.fromkeys(command.run_id for command in commands if isinstance(command, RunChanged)):
            for changed in self._watchers.get(run_id, ()):
                changed.set()

    def _stop(self) -> None:
        self._stopped = True
        # What was in flight may be durable or not: the next leader knows, and the teller has to ask it.
        left = self._batch
        while not self._arrivals.empty():
            left.append(self._arrivals.get_nowait())
        for arrival in left:
            if not arrival.durable.done():
                arrival.durable.set_exception(NotLeaderError("this coordinator no longer leads"))
        for watchers in self._watchers.values():
            for changed in watchers:
                changed.set()

    @property
    def stopped(self) -> bool:
        """Whether the term is over."""
        return self._stopped
