"""AgentService and AgentLinkService: agents attach, and people ask about them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from orbit_coordinator.services.access import Access, Reading
from orbit_coordinator.term import Term
from orbit_coordinator.views import agent_view
from orbit_core.errors import NotFoundError, PreconditionError
from orbit_core.pb.orbit.v1 import agents_pb2, agents_pb2_grpc
from orbit_core.sched.state import Agent


class AgentLinkService(agents_pb2_grpc.AgentLinkServiceServicer):
    """One stream an agent."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def Attach(
        self, request_iterator: AsyncIterator[agents_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[agents_pb2.AttachResponse]:
        term = self._access.leading()
        async for response in term.streams.serve(term.leader, request_iterator):
            yield response
        self._access.leading()  # a stream that ends with its term says why


class AgentService(agents_pb2_grpc.AgentServiceServicer):
    """Lists, drains; who leads."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def ListAgents(self, request: agents_pb2.ListAgentsRequest, context: Any) -> agents_pb2.ListAgentsResponse:
        reading = await self._access.reading(context)
        agents = sorted(reading.state.agents.values(), key=lambda agent: agent.facts.id)
        return agents_pb2.ListAgentsResponse(agents=[_view(reading, agent) for agent in agents])

    async def DrainAgent(self, request: agents_pb2.DrainAgentRequest, context: Any) -> agents_pb2.DrainAgentResponse:
        term = self._access.leading()
        agent = term.state.agents.get(request.agent_id)
        if agent is None:
            raise NotFoundError(
                f"there is no agent {request.agent_id!r}", remedy="`orbit agents` lists those there are"
            )
        if not term.streams.drain(request.agent_id):
            raise PreconditionError(f"{request.agent_id} is not attached just now", remedy="try again in a moment")
        return agents_pb2.DrainAgentResponse(agent=_view(Reading(term.state, term.streams.streams), agent))

    async def GetMesh(self, request: agents_pb2.GetMeshRequest, context: Any) -> agents_pb2.GetMeshResponse:
        access = self._access
        term = access.term
        return agents_pb2.GetMeshResponse(
            coordinator_id=access.resources.coordinator_id,
            leader_id=access.leader_id,
            leader_address=access.leader_address or "",
            epoch=access.epoch,
            is_leader=term is not None,
            version=version("orbit-mesh"),
            runs_live=len(term.state.runs) if term else 0,
            journal_sequence=term.leader.sequence if term else 0,
            blob_copies=_copies(access.resources.address, term),
            http_address=access.http_address,
            blob_home=home.uri if (home := access.resources.blob_home) is not None else "",
        )


def _view(reading: Reading, agent: Agent) -> agents_pb2.Agent:
    stream = reading.streams.get(agent.facts.id)
    view = agent_view(agent, stream.advertisement if stream else None, reading.state)
    if stream is not None:
        view.last_seen_ms = stream.last_seen_ms
        view.cpu_load = stream.cpu_load
    return view


def _copies(address: str, term: Term | None) -> int:
    """Machines that hold a result once it is durable: its agent's and the leader's, which may be the same one."""
    host = address.rpartition(":")[0]
    agents = term.streams.streams.values() if term else ()
    return 2 if any(each.advertisement.address.rpartition(":")[0] != host for each in agents) else 1
