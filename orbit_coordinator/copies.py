"""Where else in the mesh a blob may lie, and how one gets there: what lies on one machine only is lost with it.

Agents keep what they made and what they are given; whoever leads finds them by what they advertise in etcd, so a new
leader can read what the last one held. Nothing here decides what has to be copied.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from orbit_core.errors import OrbitError
from orbit_core.pb.orbit.v1 import common_pb2
from orbit_core.store.api import Store
from orbit_core.store.blobs import BlobStore
from orbit_core.store.keys import Keys

log = logging.getLogger(__name__)

#: Has the machine at an address hold blobs too. BlobError where it does not take one.
Push = Callable[[str, BlobStore, Sequence[common_pb2.BlobRef]], Awaitable[None]]


async def agent_addresses(store: Store, keys: Keys) -> list[str]:
    """Where agents that are there now serve blobs, in the order of their names."""
    span = keys.agents()
    found = await store.range(span.start, span.end)
    told = (json.loads(kv.value) for kv in found.kvs)
    return [each["address"] for each in told if each.get("address")]


async def second_copy(push: Push, local: BlobStore, hashes: Iterable[str], addresses: Sequence[str]) -> bool:
    """Puts blobs that lie here on one other machine, the first that takes them; False where none does."""
    infos = [await local.stat(sha256) for sha256 in hashes]
    blobs = [common_pb2.BlobRef(sha256=info.sha256, size_bytes=info.size_bytes) for info in infos if info is not None]
    for address in addresses:
        try:
            await push(address, local, blobs)
            return True
        except (OrbitError, OSError) as error:
            log.warning("a second copy is not taken by %s: %s", address, error)
    return not blobs
