"""`OrbitClient`: every call that a program makes of a mesh, on asyncio.

Put together from the calls about clusters, runs, downloads, models, scheduling and batches; those about agents and
secrets are here. Each method is one call: build the request, hand it to the router, convert the answer. Where a call
goes and how often is `_routing`'s business; what is given back is in `types`. No printing and no policy belongs here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import TracebackType

from orbit_core.client import _convert
from orbit_core.client._routing import OnWait, Patience, Router
from orbit_core.client.batches import BatchCalls
from orbit_core.client.context import parse_addresses, resolve_addresses
from orbit_core.client.types import Agent, Mesh, Secret
from orbit_core.clock import Clock
from orbit_core.pb.orbit.v1 import agents_pb2 as agents_pb
from orbit_core.pb.orbit.v1 import agents_pb2_grpc, secrets_pb2_grpc
from orbit_core.pb.orbit.v1 import secrets_pb2 as secrets_pb


class OrbitClient(BatchCalls):
    """A client of one mesh, for one event loop; `async with` closes it.

    `addresses`: coordinators, as `"host:port"`, several with commas or in a sequence; None asks `ORBIT_ADDRESS` and
    the context file that `orbit up` writes. The client follows the leader: a change of leader is a pause of some
    seconds, not an error, and streams go on without repeating what they gave.

    `ask_followers`: runs and agents may be read from a coordinator that does not lead; `as_of_ms` says then how old
    the last answer is.

    Every method raises errors of `orbit_core.errors` only: `MeshUnreachableError` when nobody answered for as long
    as `patience` lasts, else what the coordinator said.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] | None = None,
        *,
        patience: Patience | None = None,
        clock: Clock | None = None,
        jitter: random.Random | None = None,
        on_wait: OnWait | None = None,
        ask_followers: bool = False,
    ) -> None:
        self._router = Router(
            _source(addresses),
            patience or Patience(),
            clock=clock,
            jitter=jitter,
            on_wait=on_wait,
            ask_followers=ask_followers,
        )

    async def __aenter__(self) -> OrbitClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._router.close()

    @property
    def as_of_ms(self) -> int | None:
        """When the last answer was so, where it was not the leader's (milliseconds since the epoch); else None."""
        return self._router.as_of_ms

    # The mesh

    async def agents(self, *, include_lost: bool = False) -> tuple[Agent, ...]:
        response = await self._router.unary(
            lambda channel: agents_pb2_grpc.AgentServiceStub(channel).ListAgents,
            agents_pb.ListAgentsRequest(include_lost=include_lost),
        )
        return tuple(_convert.agent(each) for each in response.agents)

    async def drain(self, agent_id: str) -> Agent:
        """Let an agent take no more, finish what fits and hand back the rest."""
        response = await self._router.unary(
            lambda channel: agents_pb2_grpc.AgentServiceStub(channel).DrainAgent,
            agents_pb.DrainAgentRequest(agent_id=agent_id),
        )
        return _convert.agent(response.agent)

    async def mesh(self) -> Mesh:
        """Who leads, as the coordinator that answered sees it."""
        response = await self._router.unary(
            lambda channel: agents_pb2_grpc.AgentServiceStub(channel).GetMesh, agents_pb.GetMeshRequest()
        )
        return _convert.mesh(response)

    # Secrets

    async def set_secret(self, cluster: str, name: str, value: str) -> Secret:
        response = await self._router.unary(
            lambda channel: secrets_pb2_grpc.SecretServiceStub(channel).SetSecret,
            secrets_pb.SetSecretRequest(cluster=cluster, name=name, value=value),
        )
        return _convert.secret(response.secret)

    async def secrets(self, cluster: str = "") -> tuple[Secret, ...]:
        """The names in the vault, of one cluster or of all. Values never come out."""
        response = await self._router.unary(
            lambda channel: secrets_pb2_grpc.SecretServiceStub(channel).ListSecrets,
            secrets_pb.ListSecretsRequest(cluster=cluster),
        )
        return tuple(_convert.secret(each) for each in response.secrets)

    async def rotate_key(self, project: str) -> str:
        """Give a project a new key and seal its secrets under it; the key's name. Values stay as they are."""
        response = await self._router.unary(
            lambda channel: secrets_pb2_grpc.SecretServiceStub(channel).RotateKey,
            secrets_pb.RotateKeyRequest(project=project),
        )
        return response.key_id

    async def delete_secret(self, cluster: str, name: str) -> bool:
        """Whether there was one (False too where an earlier attempt of this call had deleted it unseen)."""
        response = await self._router.unary(
            lambda channel: secrets_pb2_grpc.SecretServiceStub(channel).DeleteSecret,
            secrets_pb.DeleteSecretRequest(cluster=cluster, name=name),
        )
        return response.deleted


def _source(addresses: str | Sequence[str] | None) -> Callable[[], Sequence[str]]:
    if addresses is None:
        return resolve_addresses
    fixed = parse_addresses(addresses if isinstance(addresses, str) else ",".join(addresses))
    return lambda: fixed
