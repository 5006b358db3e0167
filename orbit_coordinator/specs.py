"""Specs: cluster files that were accepted, stored under the hash of what they say.

A stored spec holds the cluster without any secret's value and the workflow that was compiled from it, so that a run
started years ago replays as it ran.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from orbit_core.errors import NotFoundError
from orbit_core.ids import content_hash
from orbit_core.sched.workflow import Workflow
from orbit_core.spec.models import Cluster
from orbit_core.store.api import Compare, Put, Store
from orbit_core.store.codec import decode, encode
from orbit_core.store.election import Leadership
from orbit_core.store.keys import Keys

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """A version of a cluster. `spec_hash`: SHA-256 of the stored record."""

    spec_hash: str
    cluster: Cluster
    workflow: Workflow


def encode_spec(cluster: Cluster, workflow: Workflow) -> bytes:
    """The stored record. `cluster` must be without secret values."""
    record = {
        "format": FORMAT,
        "cluster": json.loads(cluster.model_dump_json()),
        "workflow": json.loads(encode(workflow)),
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


class SpecStore:
    """Reads and writes specs; what was read stays in memory, since a hash never changes its meaning."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._known: dict[str, Spec] = {}

    async def put(self, cluster: Cluster, workflow: Workflow, leadership: Leadership) -> Spec:
        """Stores a spec; the same one again is no change. Raises FencedError after a change of leader."""
        data = encode_spec(cluster, workflow)
        spec = Spec(content_hash(data), cluster, workflow)
        key = self._keys.spec(spec.spec_hash)
        fence: Compare = leadership.guard()
        result = await self._store.txn(compare=[fence], success=[Put(key, data)])
        if not result.succeeded:
            raise leadership.fenced()
        self._known[spec.spec_hash] = spec
        return spec

    async def get(self, spec_hash: str) -> Spec:
        """The spec of that hash. Raises NotFoundError."""
        known = self._known.get(spec_hash)
        if known is not None:
            return known
        found = await self._store.get(self._keys.spec(spec_hash))
        if found is None:
            raise NotFoundError(f"there is no spec {spec_hash}")
        record = json.loads(found.value)
        spec = Spec(
            spec_hash,
            Cluster.model_validate(record["cluster"], by_name=True),
            decode(Workflow, json.dumps(record["workflow"]).encode()),
        )
        self._known[spec_hash] = spec
        return spec

    def known(self, spec_hash: str) -> Spec:
        """A spec that has been read before."""
        return self._known[spec_hash]
