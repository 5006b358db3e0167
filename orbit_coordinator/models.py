"""The mesh's registrations of models, as the coordinator keeps them in etcd. What agents do about them is theirs."""

from __future__ import annotations

import logging

from orbit_core.errors import ModelError
from orbit_core.store.api import Delete, DeleteResult, Put, Store
from orbit_core.store.election import Leadership
from orbit_core.store.keys import Keys
from orbit_core.store.models import ModelRecord

_log = logging.getLogger(__name__)


class ModelRegistry:
    """Reads and writes registrations. Writes raise `FencedError` after a change of leader."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def all(self) -> dict[str, ModelRecord]:
        """By name, in the order of names. One that cannot be read is left out, and said so in the log."""
        found = await self._store.get_prefix(self._keys.models().start)
        records: dict[str, ModelRecord] = {}
        for kv in found.kvs:
            name = self._keys.model_name(kv.key)
            try:
                records[name] = ModelRecord.decode(name, kv.value)
            except ModelError as error:
                _log.error("%s", error)
        return records

    async def put(self, record: ModelRecord, leadership: Leadership) -> None:
        """Registers a model; one of the same name is replaced, and what it was pinned to forgotten."""
        key = self._keys.model(record.name)
        result = await self._store.txn(compare=[leadership.guard()], success=[Put(key, record.encode())])
        if not result.succeeded:
            raise leadership.fenced()

    async def remove(self, name: str, leadership: Leadership) -> bool:
        """Whether it was there."""
        result = await self._store.txn(compare=[leadership.guard()], success=[Delete(self._keys.model(name))])
        if not result.succeeded:
            raise leadership.fenced()
        deleted = result.results[0]
        assert isinstance(deleted, DeleteResult)
        return deleted.deleted > 0
