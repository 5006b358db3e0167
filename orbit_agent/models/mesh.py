"""The mesh's registrations as this agent sees them: watched in etcd, mirrored into the store, pinned by who is first.

A watch that breaks, or lags behind what etcd has compacted away, begins anew with a read of everything. Fetching,
hashing and loading are not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from orbit_agent.inference.errors import ModelSourceError
from orbit_agent.models.store import ModelStore
from orbit_agent.models.threads import apart
from orbit_core.errors import InvalidRequestError, ModelError, StoreError
from orbit_core.store.api import Compare, KeyValue, Put, Store
from orbit_core.store.keys import Keys
from orbit_core.store.models import Manifest, ModelRecord

_log = logging.getLogger(__name__)

_RETRY_S: Final = 1.0
#: How long a thread that has fetched a model waits for etcd to take its pin.
PIN_TIMEOUT_S: Final = 30.0


class Pinner:
    """Writes what a model was found to be into its registration, unless somebody did so before. For threads."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._loop = asyncio.get_running_loop()

    def __call__(self, record: ModelRecord, manifest: Manifest) -> None:
        """Raises `ModelSourceError` where the mesh has another manifest by now, or cannot be asked: try again."""
        asking = asyncio.run_coroutine_threadsafe(self._pin(record, manifest), self._loop)
        try:
            asking.result(PIN_TIMEOUT_S)
        except (StoreError, TimeoutError) as error:
            asking.cancel()
            raise ModelSourceError(f"{record.name} was fetched but cannot be pinned: {error}") from error

    async def _pin(self, record: ModelRecord, manifest: Manifest) -> None:
        key = self._keys.model(record.name)
        while True:
            found = await self._store.get(key)
            now = None if found is None else ModelRecord.decode(record.name, found.value)
            if found is None or now is None or (now.source, now.added_ms) != (record.source, record.added_ms):
                raise ModelSourceError(f"the registration of {record.name} changed while it was fetched")
            if now.manifest is not None:
                if now.manifest.hash == manifest.hash:
                    return
                raise ModelSourceError(f"another agent has pinned {record.name} to other files meanwhile")
            pinned = replace(now, manifest=manifest).encode()
            unchanged = Compare.unchanged_since(key, found.mod_revision)
            written = await self._store.txn(compare=[unchanged], success=[Put(key, pinned)])
            if written.succeeded:
                return


class MeshModels:
    """Keeps the store's mirror in line with etcd.

    `changed` is told of each model that is no longer what it was, `news` that there is something to tell.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        models: ModelStore,
        changed: Callable[[str], Awaitable[None]],
        news: Callable[[], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._models = models
        self._changed = changed
        self._news = news
        self._records: dict[str, ModelRecord] = {}
        self._mirroring = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Set once the registrations have been read.
        self.known = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._follow()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        under = self._keys.models()
        while True:
            try:
                found = await self._store.get_prefix(under.start)
                self._records = {}
                for kv in found.kvs:
                    self._take(kv)
                await self._mirror()
                await apart(self._models.sweep)  # what was removed while this agent was away
                self.known.set()
                watch = self._store.watch(under.start, under.end, from_revision=found.revision + 1)
                async with aclosing(watch):
                    async for batch in watch:
                        for event in batch.events:
                            if event.kind == "put":
                                self._take(event.kv)
                            else:
                                self._records.pop(self._keys.model_name(event.kv.key), None)
                        await self._mirror()
            except StoreError as error:
                _log.warning("the registrations of models cannot be read: %s", error)
            await asyncio.sleep(_RETRY_S)

    async def look(self, name: str) -> bool:
        """Whether the mesh knows a model, asked of etcd itself: the watch may be a moment behind."""
        try:
            found = await self._store.get(self._keys.model(name))
        except (StoreError, InvalidRequestError) as error:
            _log.warning("the registration of %s cannot be read: %s", name, error)
            return False
        if found is not None:
            self._take(found)
            await self._mirror()
        return name in self._records

    def _take(self, kv: KeyValue) -> None:
        name = self._keys.model_name(kv.key)
        try:
            self._records[name] = ModelRecord.decode(name, kv.value)
        except ModelError as error:
            self._records.pop(name, None)
            _log.error("%s", error)

    async def _mirror(self) -> None:
        async with self._mirroring:  # one after the other: an older picture must not come last
            changed = await asyncio.to_thread(self._models.mirror, dict(self._records))
        for record in changed:
            # Apart from the watch: a load under way is waited for, and may be a long download.
            task = asyncio.create_task(self._give_up(record), name=f"give up {record.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._news()

    async def _give_up(self, record: ModelRecord) -> None:
        """Ends the use of what a name stood for, then frees its files."""
        _log.info("the model %s was registered anew, or removed", record.name)
        await self._changed(record.name)
        await apart(self._models.sweep)
        self._news()
