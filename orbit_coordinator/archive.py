"""Ended runs: their records leave the state and etcd's journal, and stay readable.

The record (the whole run as a snapshot would hold it) and its logs are blobs; etcd keeps one small summary a run.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict

from orbit_coordinator.views import run_view
from orbit_core.errors import BlobError, NotFoundError
from orbit_core.pb.orbit.v1 import runs_pb2
from orbit_core.sched.state import Run, WorkDone
from orbit_core.sched.workflow import Workflow
from orbit_core.store.api import Delete, Put, Store
from orbit_core.store.blobs import BlobStore, read_blob
from orbit_core.store.codec import decode, encode
from orbit_core.store.election import Leadership
from orbit_core.store.keys import Keys

log = logging.getLogger(__name__)

_RUNS_KEPT = 32


@dataclass(frozen=True, slots=True)
class ArchivedRun:
    """A summary, and where the whole lies. `work`: as `Run.work`; empty in summaries of a time without it."""

    view: runs_pb2.Run
    record_sha256: str
    logs_sha256: str
    work: Mapping[str, WorkDone] = field(default_factory=dict[str, WorkDone])


class Archive:
    """Writes and reads ended runs."""

    def __init__(self, store: Store, keys: Keys, blobs: BlobStore) -> None:
        self._store = store
        self._keys = keys
        self._blobs = blobs
        self._read: OrderedDict[str, Run] = OrderedDict()

    async def write(self, run: Run, workflow: Workflow, logs: bytes, leadership: Leadership) -> None:
        """Durable when it returns. FencedError after a change of leader."""
        record = await self._blobs.put(encode(run))
        kept_logs = await self._blobs.put(logs) if logs else None
        summary: dict[str, Any] = {
            "format": 1,
            "run": MessageToDict(run_view(run, workflow), preserving_proto_field_name=True),
            "record": record.sha256,
            "logs": kept_logs.sha256 if kept_logs else "",
            "work": {key: [done.total_ms, done.shortest_ms] for key, done in run.work.items()},
        }
        put = Put(self._keys.archived(run.id), json.dumps(summary, separators=(",", ":")).encode())
        result = await self._store.txn(compare=[leadership.guard()], success=[put])
        if not result.succeeded:
            raise leadership.fenced()

    async def delete(self, run_id: str, leadership: Leadership) -> bool:
        """Forgets an ended run; whether it was there.

        Its record and its logs name it, so no other run can share them: they go from this machine and from the home
        of the mesh's blobs. Objects are stored by content, may be another run's too, and stay.
        """
        found = await self.find(run_id)
        if found is None:
            return False
        delete = Delete(self._keys.archived(run_id))
        result = await self._store.txn(compare=[leadership.guard()], success=[delete])
        if not result.succeeded:
            raise leadership.fenced()
        self._read.pop(run_id, None)
        for sha256 in filter(None, (found.record_sha256, found.logs_sha256)):
            try:
                await self._blobs.delete(sha256)
            except BlobError as error:  # the run is gone; what is left of it is named by nothing
                log.warning("blob %s of %s, which is deleted, stays: %s", sha256, run_id, error)
        return True

    async def find(self, run_id: str) -> ArchivedRun | None:
        """The summary of an ended run."""
        found = await self._store.get(self._keys.archived(run_id))
        return _summary(found.value) if found else None

    async def get(self, run_id: str) -> ArchivedRun:
        """The summary of an ended run. NotFoundError."""
        found = await self.find(run_id)
        if found is None:
            raise NotFoundError(f"there is no run {run_id}", remedy="`orbit runs` lists those there are")
        return found

    async def run(self, run_id: str, *, remember: bool = True) -> Run:
        """The whole record. `remember`: it is likely to be wanted again.

        NotFoundError, or BlobError where its blob is lost.
        """
        known = self._read.get(run_id)
        if known is None:
            found = await self.get(run_id)
            try:
                content = await read_blob(self._blobs, found.record_sha256)
                known = await asyncio.to_thread(decode, Run, content)  # a large run's takes seconds
            except BlobError as error:
                raise BlobError(f"the record of {run_id} is lost: {error.message}") from error
            if not remember:
                return known
            self._read[run_id] = known
            if len(self._read) > _RUNS_KEPT:
                self._read.popitem(last=False)
        return known

    async def logs(self, run_id: str) -> bytes:
        """The run's log records as JSON lines."""
        found = await self.get(run_id)
        return await read_blob(self._blobs, found.logs_sha256) if found.logs_sha256 else b""

    async def ids(self) -> set[str]:
        """Of every run that is archived; costs far less than looking for each."""
        span = self._keys.archive()
        found: set[str] = set()
        async for page in self._store.scan(span.start, span.end, keys_only=True):
            found.update(self._keys.run_id(kv.key) for kv in page.kvs)
        return found

    async def all(self) -> AsyncIterator[ArchivedRun]:
        """Every summary, in no particular order."""
        span = self._keys.archive()
        async for page in self._store.scan(span.start, span.end):
            for kv in page.kvs:
                yield _summary(kv.value)


def _summary(data: bytes) -> ArchivedRun:
    kept = json.loads(data)
    work = {key: WorkDone(total_ms, shortest_ms) for key, (total_ms, shortest_ms) in kept.get("work", {}).items()}
    return ArchivedRun(ParseDict(kept["run"], runs_pb2.Run()), kept["record"], kept["logs"], work)
