"""Results on disk until they are acknowledged: what an agent computed survives the end of its process.

One file a result, written aside, synced and renamed, so that a crash leaves whole files only.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from google.protobuf.message import DecodeError

from orbit_agent.session import Key
from orbit_core.ids import derived_id
from orbit_core.pb.orbit.v1 import agents_pb2

log = logging.getLogger(__name__)

_SUFFIX = ".result"


class Outbox:
    """A folder of results."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> list[agents_pb2.AttemptResult]:
        """Every result that was not acknowledged, in the order of their names."""
        found: list[agents_pb2.AttemptResult] = []
        for path in sorted(self._folder.iterdir()):
            if path.suffix != _SUFFIX:
                path.unlink()  # half written when the process ended
                continue
            try:
                found.append(agents_pb2.AttemptResult.FromString(path.read_bytes()))
            except DecodeError:
                log.warning("a result in the outbox cannot be read and is dropped: %s", path.name)
                path.unlink()
        return found

    def put(self, result: agents_pb2.AttemptResult) -> None:
        """Durable when this returns. OSError where the disk is full."""
        key = result.key
        path = self._path((key.run_id, key.invocation_id, key.attempt))
        aside = path.with_suffix(".tmp")
        with aside.open("wb") as file:
            file.write(result.SerializeToString())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    def forget(self, key: Key) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: Key) -> Path:
        return self._folder / (derived_id("attempt", *key) + _SUFFIX)
