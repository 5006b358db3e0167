"""Decides when an agent whose stream broke is taken for lost: its lease has ended, or its time to come back has.

A lease is a hint and not a proof: an agent that was taken for lost may still run, and its results are still welcome.
"""

from __future__ import annotations

import logging

from orbit_coordinator.leader import Leader
from orbit_coordinator.streams import AgentStreams
from orbit_core.clock import Clock
from orbit_core.errors import StoreError
from orbit_core.sched.events import AgentLost
from orbit_core.sched.model import AgentStatus
from orbit_core.store.api import Store
from orbit_core.store.keys import Keys

log = logging.getLogger(__name__)

CHECK_EVERY_S = 0.5
#: An agent that keeps its lease but cannot reach the leader is waited for this long.
COME_BACK_S = 30.0
#: After a change of leader, agents get this long to find the new one whatever their lease says.
SETTLE_S = 3.0


class Presence:
    """Watches the agents of one term that have no stream."""

    def __init__(self, leader: Leader, streams: AgentStreams, store: Store, keys: Keys, clock: Clock) -> None:
        self._leader = leader
        self._streams = streams
        self._store = store
        self._keys = keys
        self._clock = clock
        self._absent_since_s: dict[str, float] = {}
        self._began_s = clock.monotonic_s()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(CHECK_EVERY_S)
            try:
                await self._check()
            except StoreError as error:
                log.warning("cannot look for agents' leases: %s", error)

    async def _check(self) -> None:
        now_s = self._clock.monotonic_s()
        agents = self._leader.state.agents
        absent = {agent_id for agent_id in agents if agent_id not in self._streams.streams}
        self._absent_since_s = {i: self._absent_since_s.get(i, now_s) for i in sorted(absent)}
        for agent_id, since_s in self._absent_since_s.items():
            agent = agents.get(agent_id)
            if agent is None:
                continue
            drained = agent.status is AgentStatus.DRAINING
            if not drained and now_s - self._began_s < SETTLE_S:
                continue
            leased = await self._store.get(self._keys.agent(agent_id)) is not None
            if agent_id in self._streams.streams or (leased and now_s - since_s < COME_BACK_S):
                continue
            log.warning("agent %s is gone (%s)", agent_id, "drained" if drained else "unannounced")
            await self._leader.tell(AgentLost(agent_id, agent.facts.session, announced=drained))
