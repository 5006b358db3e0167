"""Pictures of the state for snapshots: of one moment, though the leader goes on while they are made.

A run that has not changed since the last picture is not encoded again. Encoding is done on the event loop, since only
there the state stands still, in slices between which everything else gets its turn. A run that an event is about to
change is encoded just before (`before`); one so large that this would be felt is encoded while the leader waits
(`begin`), and the loop does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from orbit_core.plants import planted
from orbit_core.sched.events import Event
from orbit_core.sched.state import MeshState, Run
from orbit_core.sched.touch import touched_runs
from orbit_core.store.codec import encode_mesh, encode_run

MESH_PART: Final = "mesh"
RUN_PART: Final = "run/"
#: So many invocations are encoded in one go: about two milliseconds.
SLICE_INVOCATIONS: Final = 1_000


class Pictures:
    """One picture at a time: `begin`, then `finish`. `before` hears of every event before `step` does."""

    def __init__(self) -> None:
        #: Runs as they are now, but for those that have changed since they were encoded.
        self._encoded: dict[str, bytes] = {}
        self._parts: dict[str, bytes] = {}
        #: Runs of the picture under way that are yet to be encoded, and have not changed since its moment.
        self._waiting: dict[str, Run] = {}

    def before(self, state: MeshState, event: Event, now_ms: int) -> None:
        """The event is about to change runs: those that the picture lacks are encoded now, as they still are."""
        for run_id in touched_runs(state, event, now_ms):
            waiting = self._waiting.get(run_id)
            if waiting is not None and not planted("snapshot-of-two-moments"):
                self._take(waiting, b"".join(encode_run(waiting, SLICE_INVOCATIONS)))
            self._encoded.pop(run_id, None)

    async def begin(self, state: MeshState) -> None:
        """The picture is of this moment. Nothing may change the state until this returns."""
        self._parts = {MESH_PART: encode_mesh(state)}
        self._parts.update((RUN_PART + run_id, data) for run_id, data in self._encoded.items())
        self._waiting = {run.id: run for run in state.runs.values() if run.id not in self._encoded}
        await self._encode([run for run in self._waiting.values() if len(run.invocations) > SLICE_INVOCATIONS])

    async def finish(self) -> dict[str, bytes]:
        """All parts of the picture that `begin` began."""
        await self._encode(list(self._waiting.values()))
        parts, self._parts = self._parts, {}
        return parts

    async def _encode(self, runs: Iterable[Run]) -> None:
        done = 0
        for run in runs:
            pieces: list[bytes] = []
            for piece in encode_run(run, SLICE_INVOCATIONS):
                pieces.append(piece)
                done += min(SLICE_INVOCATIONS, len(run.invocations))
                if done >= SLICE_INVOCATIONS:
                    done = 0
                    await asyncio.sleep(0)
                if run.id not in self._waiting:  # it has changed meanwhile, and was encoded before that
                    break
            else:
                self._take(run, b"".join(pieces))

    def _take(self, run: Run, data: bytes) -> None:
        del self._waiting[run.id]
        self._parts[RUN_PART + run.id] = data
        self._encoded[run.id] = data
