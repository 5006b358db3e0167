"""Sees to it that the blobs of live runs lie here and on one more machine, whoever has died and whoever led before.

Results come with a copy here and one on the agent that made them; this is for what happens afterwards: the agent is
gone, or the leader, and the other copy is the only one. It looks in the background, and puts right what it finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from orbit_coordinator.copies import MeshBlobs
from orbit_core.clock import Clock
from orbit_core.errors import OrbitError
from orbit_core.sched.state import MeshState, Run

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0


class Upkeep:
    """For one term. `state` is the leader's, and only read."""

    def __init__(self, state: MeshState, blobs: MeshBlobs, clock: Clock) -> None:
        self._state = state
        self._blobs = blobs
        self._clock = clock
        #: Blobs of live runs, each with the other machine that has it.
        self._secured: dict[str, str] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """One round. StoreError where it is not known who is there."""
        others = frozenset(await self._blobs.others())
        secured: dict[str, str] = {}
        for run in list(self._state.runs.values()):
            for sha256, agent_id in list(blobs_of(run)):
                known = self._secured.get(sha256)
                held_by = known if known in others else await self._put_right(sha256, agent_id)
                if held_by is not None:
                    secured[sha256] = held_by
            await asyncio.sleep(0)
        self._secured = secured

    async def _put_right(self, sha256: str, agent_id: str | None) -> str | None:
        agent = self._state.agents.get(agent_id or "")
        maker = [agent.facts.address] if agent is not None else []
        try:
            await self._blobs.ensure(sha256, maker)
            return await self._blobs.secure(sha256, maker, patience_s=0.0)
        except OrbitError as error:
            log.warning("blob %s has less than two copies: %s", sha256, error)
            return None


def blobs_of(run: Run) -> Iterator[tuple[str, str | None]]:
    """The blobs that a run still needs, each with the agent that made it, if one did."""
    for address in (run.payload, *run.log_batches.values()):
        if address.page is not None:
            yield address.page.sha256, None
    for invocation in run.invocations.values():
        if invocation.outputs is not None:
            for page in invocation.outputs.pages:
                yield page.sha256, invocation.last_agent
        for file in invocation.files:
            yield file.sha256, invocation.last_agent
