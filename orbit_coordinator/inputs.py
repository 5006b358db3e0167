"""The files that a run was given: those that its payload names, and those that a manifest among them lists.

Nobody could make them again, and no result names them until the first steps have passed them on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from orbit_coordinator.results import ObjectReader
from orbit_core.batch.pages import read_listing
from orbit_core.client.download import files_in
from orbit_core.limits import OBJECT_INLINE_MAX_BYTES
from orbit_core.sched.state import Run
from orbit_core.store.blobs import BlobStore, read_blob

#: What a payload calls the file that lists others, as `orbit batch` writes it.
MANIFEST = "manifest"


async def input_files(run: Run, blobs: BlobStore) -> tuple[str, ...]:
    """Their hashes, each once. BlobError where the payload or a manifest cannot be read."""
    text = await ObjectReader(blobs).read(run.payload)
    large = len(text) > OBJECT_INLINE_MAX_BYTES
    payload: Any = await asyncio.to_thread(json.loads, text) if large else json.loads(text)
    found = {file.sha256: None for file in files_in(payload)}
    manifest = payload.get(MANIFEST) if isinstance(payload, dict) else None
    for file in files_in(manifest):
        async for sha256 in _listed_in(file.sha256, blobs):
            found[sha256] = None
    return tuple(found)


async def _listed_in(sha256: str, blobs: BlobStore) -> AsyncIterator[str]:
    """What a manifest lists, and what the sections among that list. A file that is no manifest lists nothing."""
    try:
        listed = list(read_listing((await read_blob(blobs, sha256)).splitlines()))
    except ValueError:
        return
    for each in listed:
        yield each.sha256
        if each.kind == "section":
            async for page in _listed_in(each.sha256, blobs):
                yield page
