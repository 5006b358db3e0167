"""What starts runs from within: the cron clock, clusters that follow others, and the making of run events.

What comes from outside (calls, uploads, webhooks) is noticed elsewhere and made into an event here.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from orbit_coordinator.archive import Archive
from orbit_coordinator.leader import Leader
from orbit_coordinator.specs import Spec, SpecStore
from orbit_core.clock import Clock
from orbit_core.ids import derived_id
from orbit_core.limits import OBJECT_INLINE_MAX_BYTES
from orbit_core.sched.events import RunCreated
from orbit_core.sched.model import ObjectAddress, Page, TriggerFacts
from orbit_core.sched.state import ClusterEntry, Run
from orbit_core.spec.cron import next_after
from orbit_core.spec.models import Cluster, ClusterFinishedTrigger, CronTrigger
from orbit_core.store.blobs import BlobStore

log = logging.getLogger(__name__)

#: The clock is looked at this often, so that new clusters and changed clocks are noticed.
LOOK_EVERY_S = 1.0
#: A tick that is this late is still on time for `catch-up: none`.
LATE_MS = 60_000
#: `catch-up: all` makes at most this many runs at once; the rest follows at the next look.
CATCH_UP_MAX = 100
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def run_id_of(cluster: str, kind: str, key: str) -> str:
    """The run that this firing of a trigger makes, whoever makes it and however often."""
    return derived_id("run", cluster, kind, key)


async def run_created(
    spec: Spec, kind: str, key: str, payload: dict[str, Any], blobs: BlobStore, *, time_ms: int, now_ms: int
) -> RunCreated:
    """The event that starts a run. `key`: what makes this firing itself (a tick's time, a request's id)."""
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return RunCreated(
        run_id=run_id_of(spec.cluster.identifier, kind, key),
        cluster=spec.cluster.identifier,
        spec_hash=spec.spec_hash,
        trigger=TriggerFacts(kind, time_ms, time if kind == "cron" else f"{kind} at {time}"),
        payload=await _stored(payload, blobs),
        deadline_ms=now_ms + spec.cluster.sla_ms,
    )


async def _stored(payload: dict[str, Any], blobs: BlobStore) -> ObjectAddress:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    data = text.encode()
    if len(data) <= OBJECT_INLINE_MAX_BYTES:
        return ObjectAddress(json=text)
    info = await blobs.put(data + b"\n")
    return ObjectAddress(page=Page(info.sha256, info.size_bytes, count=1))


def due_ticks(trigger: CronTrigger, entry: ClusterEntry, now_ms: int) -> list[int]:
    """Ticks that are due and have not fired: never one before the submission, missed ones as `catch-up` says."""
    last = max(entry.last_tick_ms, entry.submitted_ms)
    if trigger.catch_up == "all":
        return _ticks(trigger, last, now_ms, CATCH_UP_MAX)
    if trigger.catch_up == "none":
        return _ticks(trigger, max(last, now_ms - LATE_MS), now_ms, CATCH_UP_MAX)[-1:]
    # The latest one, however many were missed: it lies in the shortest span back from now that has any.
    for span_ms in (HOUR_MS, DAY_MS, 32 * DAY_MS, now_ms):
        ticks = _ticks(trigger, max(last, now_ms - span_ms), now_ms, HOUR_MS)
        if ticks:
            return ticks[-1:]
    return []


def _ticks(trigger: CronTrigger, after_ms: int, until_ms: int, most: int) -> list[int]:
    ticks: list[int] = []
    while len(ticks) < most:
        tick = next_after(trigger.cron, trigger.timezone, ticks[-1] if ticks else after_ms)
        if tick is None or tick > until_ms:
            break
        ticks.append(tick)
    return ticks


class CronClock:
    """Fires the cron triggers of one term."""

    def __init__(self, leader: Leader, specs: SpecStore, blobs: BlobStore, clock: Clock) -> None:
        self._leader = leader
        self._specs = specs
        self._blobs = blobs
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for entry in list(self._leader.state.clusters.values()):
                if entry.enabled:
                    await self._look(entry)
            await self._clock.sleep(LOOK_EVERY_S)

    async def _look(self, entry: ClusterEntry) -> None:
        spec = await self._specs.get(entry.spec_hash)
        now_ms = self._leader.now_ms()  # the time that submissions and deadlines are reckoned in
        for trigger in spec.cluster.triggers:
            if not isinstance(trigger, CronTrigger):
                continue
            for tick in due_ticks(trigger, entry, now_ms):
                time = datetime.fromtimestamp(tick / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                event = await run_created(
                    spec, "cron", str(tick), {"time": time}, self._blobs, time_ms=tick, now_ms=now_ms
                )
                log.info("cron tick %s of %s", time, entry.identifier)
                await self._leader.tell(event)


class Starter:
    """Starts a run for a firing of a trigger, once: however often it is asked, and whatever leads."""

    def __init__(self, leader: Leader, archive: Archive, blobs: BlobStore) -> None:
        self.leader = leader
        self._archive = archive
        self._blobs = blobs
        #: By the run that is being started.
        self._starting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def known(self) -> set[str]:
        """Every run that there is: for whoever has many firings to look through that were heard of before."""
        return {*self.leader.state.runs, *await self._archive.ids()}

    async def start(self, spec: Spec, kind: str, key: str, payload: dict[str, Any]) -> tuple[str, bool]:
        """The run's identifier, and whether this started it; durable when it returns.

        `key`: what makes this firing itself.
        """
        run_id = run_id_of(spec.cluster.identifier, kind, key)
        async with self.alone(run_id):
            if await self.has_begun(run_id):
                return run_id, False
            now_ms = self.leader.now_ms()
            event = await run_created(spec, kind, key, payload, self._blobs, time_ms=now_ms, now_ms=now_ms)
            await self.leader.tell(event)
            return run_id, True

    async def has_begun(self, run_id: str) -> bool:
        """Whether there is such a run, durable when this returns; it may have ended and left the state since."""
        if run_id in self.leader.state.runs:
            await self.leader.flushed()
            return True
        return await self._archive.find(run_id) is not None

    @asynccontextmanager
    async def alone(self, run_id: str) -> AsyncIterator[None]:
        """Nobody else looks for the run, or starts it, meanwhile.

        Between a look and the start lies the writing of the payload, which may take long: long enough for a second
        request to start the run, and for that to end and leave the state.
        """
        lock = self._starting.get(run_id)
        if lock is None:
            lock = self._starting[run_id] = asyncio.Lock()
        async with lock:
            yield


class Chains:
    """Starts runs of clusters that wait for another one to finish."""

    def __init__(self, starter: Starter, specs: SpecStore) -> None:
        self._starter = starter
        self._specs = specs

    async def fire(self, ended: Run) -> None:
        """What waits for the cluster of this run has a run of its own, durable when this returns."""
        for entry in list(self._starter.leader.state.clusters.values()):
            if not entry.enabled:
                continue
            spec = await self._specs.get(entry.spec_hash)
            if ended.cluster in followed_by(spec.cluster):
                log.info("%s ended as %s: %s follows", ended.id, ended.status, entry.identifier)
                await self._starter.start(spec, "cluster-finished", ended.id, _told_of(ended))


def followed_by(cluster: Cluster) -> list[str]:
    """The clusters whose ends start a run of this one."""
    return [trigger.cluster for trigger in cluster.triggers if isinstance(trigger, ClusterFinishedTrigger)]


def _told_of(ended: Run) -> dict[str, Any]:
    """The payload: what `${{ trigger.… }}` may ask of the run that ended."""
    return {
        "cluster": ended.cluster,
        "run-id": ended.id,
        "state": str(ended.status),
        "sla": str(ended.sla),
        "cost-usd": ended.cost_usd,
        "lineages-succeeded": ended.lineages_succeeded,
        "lineages-failed": ended.lineages_failed,
    }
