"""The leader buys machines: what `sched.capacity` decided is journaled, then started; what nobody wants is stopped.

Once a tick. A provider that fails costs a line in the log and this tick's part of it, never the term. Whatever a
crash left half done is mended from the state and the provider's list: a machine that was chosen and not started is
started under the same name, and one in the list that no run wants is drained and stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from orbit_coordinator.capacity import CapacityError, CapacityProvider, Price
from orbit_coordinator.leader import Leader
from orbit_coordinator.streams import AgentStreams
from orbit_core.clock import Clock
from orbit_core.errors import FencedError, NotLeaderError
from orbit_core.sched.capacity import Buyer, Terms, machines, settle
from orbit_core.sched.events import CapacityChanged, CapacityReleased
from orbit_core.sched.model import AgentFacts, AgentStatus, Gpu
from orbit_core.sched.shortfall import Offer, agents_of_machines
from orbit_core.sched.state import Machine, Run
from orbit_core.spec.capacity_file import CapacitySpec, PoolSpec

log = logging.getLogger(__name__)

_PRICES_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a coordinator may buy, and who sells it."""

    spec: CapacitySpec
    provider: CapacityProvider


async def give_all_back(capacity: Capacity) -> None:
    """Stops every machine of this mesh, as far as the provider lets it: the mesh itself ends."""
    try:
        found = await capacity.provider.list()
        for name, pool in found.items():
            if _is_ours(capacity.spec, name):
                await capacity.provider.stop(name, pool)
                log.info("%s is stopped", name)
    except CapacityError as error:
        log.warning("machines may be left, and cost money: %s", error)


def _is_ours(spec: CapacitySpec, name: str) -> bool:
    # Not by its beginning alone: the mesh `a` must not stop what the mesh `a-b` has bought.
    return name.rpartition("-")[0] == f"orbit-{spec.name}"


class Buying:
    """One for a term."""

    def __init__(self, capacity: Capacity, leader: Leader, streams: AgentStreams, clock: Clock) -> None:
        self._spec = capacity.spec
        self._provider = capacity.provider
        self._leader = leader
        self._streams = streams
        self._clock = clock
        self._buyer = Buyer(Terms(mesh=self._spec.name, tick_ms=self._spec.tick, most=self._spec.most))
        self._prices: Mapping[str, Price] = {}
        self._prices_at_s: float | None = None
        #: Pools that had none, or took one away, and until when they count as empty.
        self._empty_until_s: dict[str, float] = {}
        #: Machines that nobody wants, and until when they may finish what they run.
        self._leave_until_s: dict[str, float] = {}

    def note(self, run: Run) -> str:
        """What is bought for the run and why, or why not."""
        return self._buyer.note(run)

    async def run(self) -> None:
        """Until cancelled."""
        tick_s = self._spec.tick / 1000
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await self._tick()
            except (FencedError, NotLeaderError):
                raise
            except Exception:
                log.exception("machines could be neither bought nor given back just now")
            await self._clock.sleep(max(0.05, tick_s - (self._clock.monotonic_s() - began_s)))

    async def _tick(self) -> None:
        present = await self._list()
        await self._settle(present)
        await self._look_at_prices()
        await self._start_what_is_coming(present or {})
        leader = self._leader
        wants = self._buyer.look(leader.state, self._offers(), leader.now_ms(), self._streams.room())
        if wants:
            # Working out what a market is worth takes a moment, which the leader's loop does not have.
            chosen = await asyncio.to_thread(self._buyer.choose, wants)
            for each in chosen:
                if each.name:
                    why = self._buyer.why(each.run_id)
                    log.info("%s wants %s in %s, %s: %s", each.run_id, each.kind, each.pool, each.name, why)
            await asyncio.gather(*(leader.tell(each) for each in chosen))
            await self._start_what_is_coming({})
        if present is not None:
            await self._release(present)

    # Machines that are wanted.

    async def _list(self) -> Mapping[str, str] | None:
        """Machines of this mesh by name; None where that cannot be known just now."""
        try:
            found = await self._provider.list()
        except CapacityError as error:
            log.warning("machines cannot be listed: %s", error)
            return None
        return {name: pool for name, pool in found.items() if _is_ours(self._spec, name)}

    async def _settle(self, present: Mapping[str, str] | None) -> None:
        restarts = {pool.name: pool.restart for pool in self._spec.pools}
        wanted = machines(self._leader.state)
        for each in settle(self._leader.state, present, restarts, self._leader.now_ms()):
            if each.what == "lost":
                log.warning("%s of %s is lost", each.name, each.run_id)
                machine = wanted[each.name][2]
                if machine.kind == "spot":
                    self._had_none(machine.pool)
            await self._leader.tell(each)

    async def _start_what_is_coming(self, present: Mapping[str, str]) -> None:
        coming = [
            (run.id, number, lane.coming)
            for run in self._leader.state.runs.values()
            for number, lane in run.bought.items()
            if lane.coming is not None and not run.ended
        ]
        await asyncio.gather(*(self._start(*each, present) for each in coming))

    async def _start(self, run_id: str, lane: int, machine: Machine, present: Mapping[str, str]) -> None:
        offer = next((each for each in self._offers() if each.name == machine.pool), None)
        there_was_one = machine.name in present  # started by a leader that did not live to say so
        if offer is not None and not there_was_one:  # without an offer the file does not name the pool any more
            price = offer.spot_usd_per_hour if machine.kind == "spot" else offer.on_demand_usd_per_hour
            try:
                there_was_one = await self._provider.start(machine.pool, machine.kind, machine.name, price)
            except CapacityError as error:
                log.warning("%s could not be started: %s", machine.name, error)
            else:
                said = "is started" if there_was_one else "was not to be had"
                log.info("%s (%s in %s) %s", machine.name, machine.kind, machine.pool, said)
        if not there_was_one and machine.kind == "spot":
            self._had_none(machine.pool)
        what = "started" if there_was_one else "refused"
        await self._leader.tell(CapacityChanged(run_id, lane, machine.name, what))

    # What is sold.

    async def _look_at_prices(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._prices_at_s is not None and now_s - self._prices_at_s < _PRICES_EVERY_S:
            return
        self._prices_at_s = now_s
        try:
            self._prices = await self._provider.prices()
        except CapacityError as error:
            log.warning("prices are those that were seen last: %s", error)

    def _offers(self) -> list[Offer]:
        now_s = self._clock.monotonic_s()
        found: list[Offer] = []
        for pool in self._spec.pools:
            price = self._prices.get(pool.name, Price(pool.on_demand, pool.spot))
            empty = price.available is False or self._empty_until_s.get(pool.name, 0.0) > now_s
            found.append(_offer(pool, price, available=not empty))
        return found

    def _had_none(self, pool: str) -> None:
        self._empty_until_s[pool] = self._clock.monotonic_s() + self._spec.retry / 1000

    # Machines that nobody wants.

    async def _release(self, present: Mapping[str, str]) -> None:
        """Drained where an agent runs on one, then stopped; also what a crash or a time-out has left behind."""
        state, now_s = self._leader.state, self._clock.monotonic_s()
        wanted, agents = machines(state), agents_of_machines(state)
        unwanted = [name for name in present if name not in wanted]
        self._leave_until_s = {name: until for name, until in self._leave_until_s.items() if name in unwanted}
        for name in unwanted:
            agent = agents.get(name)
            until_s = self._leave_until_s.setdefault(name, now_s + self._spec.drain / 1000)
            if agent is not None and now_s < until_s:
                if agent.status is AgentStatus.ATTACHED and self._streams.drain(agent.facts.id):
                    log.info("%s is not needed any more: it drains", name)
                continue
            # A leader that has been deposed without knowing may not know either who wants the machine now.
            await self._leader.tell(CapacityReleased(name))
            try:
                await self._provider.stop(name, present[name])
                log.info("%s is stopped", name)
            except CapacityError as error:
                log.warning("%s could not be stopped, and costs money until it is: %s", name, error)


def _offer(pool: PoolSpec, price: Price, *, available: bool) -> Offer:
    """The pool at these prices. One without spot is as dear as on-demand there, and never available."""
    instance = pool.instance
    facts = AgentFacts(
        id="",
        session="",
        address="",
        cpu_milli=round(1000 * instance.cpus),
        memory_bytes=instance.memory,
        gpus=(Gpu(instance.gpu_model, instance.gpu_memory or 0),) * instance.gpus,
        labels=(("hardware", instance.hardware),) if instance.hardware else (),
        satellites=instance.satellites,
    )
    return Offer(
        name=pool.name,
        facts=facts,
        slots=instance.slots,
        restart_ms=pool.restart,
        spot_usd_per_hour=price.on_demand if price.spot is None else price.spot,
        on_demand_usd_per_hour=price.on_demand,
        available=available and price.spot is not None,
    )
