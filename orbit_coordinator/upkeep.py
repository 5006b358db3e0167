"""Sees to it that the blobs of live runs lie in the home of the mesh's blobs, or, where it has none, here and on one
more machine, whoever has died and whoever led before.

Results come with a copy here and one on the agent that made them; this is for what happens afterwards: the agent is
gone, or the leader, and the other copy is the only one. It looks in the background, and puts right what it finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Final

from orbit_coordinator.copies import MeshBlobs
from orbit_coordinator.inputs import input_files
from orbit_core.clock import Clock
from orbit_core.errors import BlobError, OrbitError
from orbit_core.sched.state import MeshState, Run

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
_AT_ONCE = 100


class Upkeep:
    """For one term. `state` is the leader's, and only read."""

    def __init__(self, state: MeshState, blobs: MeshBlobs, clock: Clock) -> None:
        self._state = state
        self._blobs = blobs
        self._clock = clock
        #: Blobs of live runs, each with who else has it.
        self._secured: dict[str, str] = {}
        #: The files that live runs were given; they do not change.
        self._given: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """One round. StoreError where it is not known who is there."""
        keepers = frozenset(await self._blobs.keepers())
        safe: dict[str, str] = {}
        self._given = {run_id: files for run_id, files in self._given.items() if run_id in self._state.runs}
        for run in list(self._state.runs.values()):
            doubtful: dict[str | None, list[str]] = {}
            for sha256, agent_id in [*blobs_of(run), *[(sha256, None) for sha256 in await self._files_given_to(run)]]:
                held_by = self._secured.get(sha256)
                if held_by in keepers:
                    safe[sha256] = held_by
                else:
                    doubtful.setdefault(agent_id, []).append(sha256)
            for agent_id, hashes in doubtful.items():
                for start in range(0, len(hashes), _AT_ONCE):
                    safe |= await self._put_right(hashes[start : start + _AT_ONCE], agent_id)
            await asyncio.sleep(0)
        self._secured = safe

    async def _files_given_to(self, run: Run) -> tuple[str, ...]:
        if run.id not in self._given:
            try:
                self._given[run.id] = await input_files(run, self._blobs)
            except BlobError as error:
                log.warning("the files that %s was given are not known: %s", run.id, error)
                return ()
        return self._given[run.id]

    async def _put_right(self, hashes: Sequence[str], agent_id: str | None) -> dict[str, str]:
        """Those that lie here and elsewhere now, each with where."""
        agent = self._state.agents.get(agent_id or "")
        maker = [agent.facts.address] if agent is not None else []
        here: list[str] = []
        try:
            for sha256 in hashes:
                try:
                    await self._blobs.keep(sha256, maker)
                    here.append(sha256)
                except BlobError as error:
                    log.warning("blob %s of a live run cannot be had: %s", sha256, error)
            held_by = await self._blobs.secure(here, maker, patience_s=0.0) if here else None
        except OrbitError as error:
            log.warning("blobs of live runs have less than two copies: %s", error)
            return {}
        return dict.fromkeys(here, held_by) if held_by is not None else {}


def blobs_of(run: Run) -> Iterator[tuple[str, str | None]]:
    """The blobs that a run still needs, each with the agent that made it, if one did."""
    for address in (run.payload, *run.log_batches.values()):
        if address.page is not None:
            yield address.page.sha256, None
    for taken in run.takeovers.values():  # whose invocations do not exist yet
        for blob in (*taken.outputs.pages, *taken.files):
            yield blob.sha256, None
    for invocation in run.invocations.values():
        if invocation.outputs is not None:
            for page in invocation.outputs.pages:
                yield page.sha256, invocation.last_agent
        for file in invocation.files:
            yield file.sha256, invocation.last_agent
