"""One term of leadership, put together: recovered state, leader loop, streams, presence, cron, logs, snapshots.

A term begins after the election is won and ends with the lead, whatever ends it; nothing of it outlives it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orbit_coordinator import assignments
from orbit_coordinator.archive import Archive
from orbit_coordinator.buying import Buying, Capacity
from orbit_coordinator.copies import NOT_ITS_FAULT, MeshBlobs
from orbit_coordinator.ended import Ended
from orbit_coordinator.leader import Leader
from orbit_coordinator.logs import LogStore
from orbit_coordinator.presence import Presence
from orbit_coordinator.recovery import known_workflows, recover
from orbit_coordinator.retries import Retries
from orbit_coordinator.snapshots import Pictures
from orbit_coordinator.space import Space
from orbit_coordinator.specs import SpecStore
from orbit_coordinator.streams import AgentStreams
from orbit_coordinator.triggers import Chains, CronClock, Starter
from orbit_coordinator.upkeep import Upkeep
from orbit_coordinator.uploads import Uploads
from orbit_coordinator.vault import Secrets
from orbit_core.clock import Clock
from orbit_core.errors import BlobError, FencedError, NotLeaderError, OrbitError, SecretError, StoreError
from orbit_core.limits import OBJECT_INLINE_MAX_BYTES
from orbit_core.pb.orbit.v1 import agents_pb2, common_pb2
from orbit_core.plants import planted
from orbit_core.sched.commands import ArchiveRun, CollectLogs
from orbit_core.sched.events import (
    AttemptFailed,
    InputsLost,
    LogsBatched,
    RunArchived,
    TermBegan,
)
from orbit_core.sched.model import AttemptKey, Failure, Outputs, Page, Usage
from orbit_core.sched.state import MeshState
from orbit_core.store.api import Store
from orbit_core.store.blobs import BlobMissingError, LocalBlobs
from orbit_core.store.blobs.home import BlobHome
from orbit_core.store.election import Leadership
from orbit_core.store.journal import JournalWriter
from orbit_core.store.keys import Keys
from orbit_core.store.records import BATCH_ID_BYTES
from orbit_core.store.snapshot import SnapshotWriter, reclaim

log = logging.getLogger(__name__)

#: A snapshot is taken after this many journal records.
SNAPSHOT_EVERY_RECORDS = 2_000
#: Space is given back to etcd's file after this many snapshots.
RECLAIM_EVERY_SNAPSHOTS = 8
_RETRY_S = 1.0
#: A blob that lies here is taken to lie here for so long.
_HELD_FOR_S = 10.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What a coordinator process has that outlives a term."""

    coordinator_id: str
    address: str
    store: Store
    keys: Keys
    #: What lies on this machine.
    local_blobs: LocalBlobs
    #: The same, with the rest of the mesh around it.
    blobs: MeshBlobs
    specs: SpecStore
    secrets: Secrets
    archive: Archive
    logs: LogStore
    clock: Clock
    allow_private_addresses: bool
    #: Draws and batch identifiers come from here; the simulation hands in a seeded one.
    rng: random.Random = field(default_factory=random.SystemRandom)
    snapshot_every_records: int = SNAPSHOT_EVERY_RECORDS
    #: Where the mesh keeps its blobs for good, as agents are told; None: on two machines.
    blob_home: BlobHome | None = None
    #: Where machines may be bought for runs; None: nowhere.
    capacity: Capacity | None = None


class Term:
    """Built by `begin`; `run` returns when the lead is lost."""

    def __init__(self, resources: Resources, leadership: Leadership, state: MeshState, sequence: int) -> None:
        self.resources = resources
        self.leadership = leadership
        self._journal = JournalWriter(
            resources.store,
            resources.keys,
            leadership,
            next_seq=sequence + 1,
            clock=resources.clock,
            new_batch_id=lambda: resources.rng.randbytes(BATCH_ID_BYTES),
        )
        self.streams = AgentStreams(
            epoch=leadership.epoch,
            coordinator_id=resources.coordinator_id,
            clock=resources.clock,
            build=self._assignment,
            keep_blobs=self._keep_blobs,
            on_logs=self._on_logs,
            on_failed=self._log_failure,
            on_run=self._on_run,
            blob_home=resources.blob_home,
        )
        self._pictures = Pictures()
        self.leader = Leader(
            state,
            self._journal,
            self.streams,
            resources.clock,
            before_step=self._pictures.before,
            after_commit=self._after_commit,
            rng=resources.rng,
        )
        self.leader.sequence = sequence
        self.retries = Retries(self.leader, resources.archive, resources.specs)
        self._upkeep = Upkeep(state, resources.blobs, resources.clock)
        self._ended = Ended(resources.archive, resources.blobs, resources.clock)
        self._presence = Presence(self.leader, self.streams, resources.store, resources.keys, resources.clock)
        self.starter = Starter(self.leader, resources.archive, resources.blobs)
        self._chains = Chains(self.starter, resources.specs)
        self._uploads = Uploads(
            self.starter,
            resources.specs,
            resources.secrets,
            resources.clock,
            allow_private_addresses=resources.allow_private_addresses,
        )
        self._cron = CronClock(self.leader, resources.specs, resources.blobs, resources.clock)
        self._space = Space(self.leader, resources.store, resources.keys, leadership, resources.clock)
        self.buying: Buying | None = None
        if resources.capacity is not None:
            self.buying = Buying(resources.capacity, self.leader, self.streams, resources.clock)
        self._snapshots = SnapshotWriter(resources.store, resources.keys, leadership)
        self._snapshot_at = sequence + resources.snapshot_every_records
        self._snapshots_written = 0
        self._snapshot_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Blobs that are known to lie here, and until when that is taken for granted.
        self._held_until_s: dict[str, float] = {}

    @classmethod
    async def begin(cls, resources: Resources, leadership: Leadership) -> Term:
        """Recovers the state; the term leads once `run` runs."""
        recovered = await recover(resources.store, resources.keys, resources.specs)
        await known_workflows(recovered.state, resources.specs)
        log.info(
            "leading as epoch %d: %d runs, %d events after snapshot %d",
            leadership.epoch,
            len(recovered.state.runs),
            recovered.events,
            recovered.snapshot_sequence,
        )
        return cls(resources, leadership, recovered.state, recovered.sequence)

    @property
    def state(self) -> MeshState:
        return self.leader.state

    async def run(self) -> None:
        """Leads until the lead is lost or this is cancelled."""
        self._resume()
        running = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("leader", self.leader.run()),
                ("presence", self._presence.run()),
                ("cron", self._insist(self._cron.run)),
                ("uploads", self._insist(self._uploads.run)),
                ("space", self._insist(self._space.run)),
                *([("capacity", self._insist(self.buying.run))] if self.buying is not None else []),
                ("upkeep", self._insist(self._upkeep.run)),
                ("ended runs", self._insist(self._ended.run)),
                ("logs", self.resources.logs.forward(self._forward)),
                ("lease", self._lost()),
            )
        ]
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is not None and not isinstance(error, FencedError):
                    log.error("the %s task ended this term", task.get_name(), exc_info=error)
        finally:
            self.leadership.mark_lost()
            if not planted("deposed-keeps-streams"):
                self.streams.close()
            for task in [*running, *self._tasks]:
                task.cancel()
            await asyncio.gather(*running, *self._tasks, return_exceptions=True)
            await self._journal.close()

    async def _lost(self) -> None:
        await self.leadership.lost.wait()
        log.warning("the lead of epoch %d is lost", self.leadership.epoch)

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs work that only needs the store now and then; the store's absence is not the end of the term."""
        while True:
            try:
                return await work()
            except (FencedError, NotLeaderError):
                raise
            except OrbitError as error:
                log.warning("%s; trying again", error)
                await self.resources.clock.sleep(_RETRY_S)

    def _resume(self) -> None:
        """What the last term had begun and the state remembers: agents are away, ends of runs are unfinished."""
        self.leader.tell(TermBegan(self.leadership.epoch))
        for run in [] if planted("ends-forgotten-on-failover") else list(self.state.runs.values()):
            if run.ended:
                self._on_run(ArchiveRun(run.id))
            elif run.taking_over:
                self._spawn(self._insist(partial(self.retries.go_on, run)))
            elif run.collecting_logs and not run.logs_final:
                self._on_run(CollectLogs(run.id))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # What streams ask.

    async def _assignment(self, key: AttemptKey) -> agents_pb2.Assignment | None:
        found = assignments.under_way(self.state, key)
        if found is None:
            return None
        run, invocation = found
        agent_id = invocation.agent
        cluster = (await self.resources.specs.get(run.spec_hash)).cluster
        step = cluster.step(self.state.step_of(run, invocation).identifier)
        assert step is not None
        try:
            secrets = await self.resources.secrets.for_step(cluster, step)
        except SecretError as error:
            self._fail_before_dispatch(key, agent_id or "", error)
            return None
        if assignments.under_way(self.state, key) is None:
            return None
        assignment = assignments.build(
            self.state,
            run,
            invocation,
            cluster,
            epoch=self.leadership.epoch,
            secrets=secrets,
            holders=[self.resources.address],
            allow_private_addresses=self.resources.allow_private_addresses,
        )
        missing, gone = await self._missing(assignment)
        if missing:
            await self._tell_missing(InputsLost(key, agent_id or "", tuple(missing), gone))
            return None
        return assignment

    async def _missing(self, assignment: agents_pb2.Assignment) -> tuple[list[str], bool]:
        """Blobs that an assignment names and that cannot be had here, and whether that is their own fault."""
        missing: list[str] = []
        gone = True
        now_s = self.resources.clock.monotonic_s()
        for sha256 in assignments.blobs_of(assignment):
            if self._held_until_s.get(sha256, 0.0) > now_s:
                continue
            try:
                await self.resources.blobs.keep(sha256)
            except OrbitError as error:
                log.warning("an input of %s cannot be had: %s", assignment.key.invocation_id, error)
                missing.append(sha256)
                gone = gone and isinstance(error, BlobError) and not isinstance(error, NOT_ITS_FAULT)
            else:
                self._held_until_s[sha256] = now_s + _HELD_FOR_S
        return missing, gone

    async def _tell_missing(self, event: InputsLost) -> None:
        await self.leader.tell(event)
        found = self.state.invocation(event.key.run_id, event.key.invocation_id)
        failure = found[1].failure if found is not None and found[1].ended else None
        if failure is not None:
            log.error("%s of %s failed: %s", event.key.invocation_id, event.key.run_id, failure.message)

    def _fail_before_dispatch(self, key: AttemptKey, agent_id: str, error: SecretError) -> None:
        failure = Failure(error.code, str(error), retryable=False)
        self.leader.tell(AttemptFailed(key, agent_id, failure, Usage(), self.leader.draw()))

    async def _keep_blobs(self, blobs: Sequence[common_pb2.BlobRef], address: str) -> str | None:
        try:
            await self.resources.blobs.keep_result([blob.sha256 for blob in blobs], address)
        except OrbitError as error:
            return str(error)
        return None

    # Logs, archives.

    def _on_logs(self, records: Sequence[common_pb2.LogRecord], agent_id: str) -> None:
        self.resources.logs.add(records, agent_id, self._is_forwarded)

    def _log_failure(self, event: AttemptFailed) -> None:
        """A failed attempt is part of what its run has to say, though its satellite logged nothing.

        Said before the event is journaled: once its last lineage has ended, a run's logs are forwarded no more.
        """
        if event.failure.code == BlobMissingError.code:  # what was taken for granted is not
            self._held_until_s.clear()
            self.resources.blobs.doubt()
        found = self.state.invocation(event.key.run_id, event.key.invocation_id)
        if found is None or found[1].ended or found[1].attempt != event.key.attempt:
            return  # said before, or of no interest any more
        run, invocation = found
        record = common_pb2.LogRecord(
            time_ms=self.leader.now_ms(),
            level="warning" if event.failure.retryable else "error",
            message=f"attempt {event.key.attempt} failed: {event.failure.code}: {event.failure.message}",
            run_id=run.id,
            invocation_id=invocation.id,
            step=self.state.step_of(run, invocation).identifier,
            attempt=event.key.attempt,
        )
        self._on_logs([record], event.agent_id)

    def _is_forwarded(self, run_id: str, step: str) -> bool:
        run = self.state.runs.get(run_id)
        if run is None or run.ended:
            return False
        workflow = self.state.workflow(run)
        if workflow.first_of["logs"] is None:
            return False
        return all(plan.section != "logs" for plan in workflow.steps if plan.identifier == step)

    def _forward(self, run_id: str, records: list[dict[str, Any]], final: bool) -> None:
        self._spawn(self._insist(partial(self._forward_batch, run_id, records, final)))

    async def _forward_batch(self, run_id: str, records: list[dict[str, Any]], final: bool) -> None:
        outputs = Outputs()
        if records:
            text = json.dumps({"records": records}, ensure_ascii=False, separators=(",", ":"))
            outputs = await self._as_outputs(text)
        await self.leader.tell(LogsBatched(run_id, outputs, final))

    async def _as_outputs(self, text: str) -> Outputs:
        data = text.encode()
        if len(data) <= OBJECT_INLINE_MAX_BYTES:
            return Outputs(inline=(text,))
        info = await self.resources.blobs.put(data + b"\n")
        return Outputs(pages=(Page(info.sha256, info.size_bytes, count=1),))

    def _on_run(self, command: CollectLogs | ArchiveRun) -> None:
        if isinstance(command, CollectLogs):
            self.resources.logs.flush(command.run_id, self._forward, final=True)
        else:
            self._spawn(self._archive(command.run_id))

    async def _archive(self, run_id: str) -> None:
        run = self.state.runs.get(run_id)
        if run is None:
            return
        while not planted("archive-skipped"):
            try:
                logs = await asyncio.to_thread(self.resources.logs.content, run_id)
                await self.resources.archive.write(run, self.state.workflow(run), logs, self.leadership)
                await self._chains.fire(run)  # while the state still holds it: the next leader does it again
                break
            except FencedError:
                return
            except (OrbitError, OSError) as error:
                log.warning("run %s cannot be archived yet: %s", run_id, error)
                await self.resources.clock.sleep(_RETRY_S)
        await self.leader.tell(RunArchived(run_id))

    # Snapshots.

    async def _after_commit(self, state: MeshState, sequence: int) -> None:
        busy = self._snapshot_task is not None and not self._snapshot_task.done()
        if sequence >= self._snapshot_at and not busy:
            self._snapshot_at = sequence + self.resources.snapshot_every_records
            claimed = sequence + 1 if planted("snapshot-off-by-one") else sequence
            await self._pictures.begin(state)
            self._snapshot_task = self._spawn(self._snapshot(claimed))

    async def _snapshot(self, sequence: int) -> None:
        try:
            written = await self._snapshots.write(sequence, await self._pictures.finish())
            self._snapshots_written += 1
            if self._snapshots_written % RECLAIM_EVERY_SNAPSHOTS == 0:
                await reclaim(self.resources.store, written.revision)
            else:
                await self.resources.store.compact(written.revision)
        except FencedError:
            return
        except StoreError as error:
            log.warning("the snapshot after record %d was not taken: %s", sequence, error)
            self._snapshot_at -= self.resources.snapshot_every_records * 3 // 4  # not as late as the one after it
