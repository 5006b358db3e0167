"""`OrbitClient`: every call that a program makes of a mesh, on asyncio.

Each method is one call: build the request, hand it to the router, convert the answer. Where a call goes and how
often is `_routing`'s business; what is given back is in `types`. No printing and no policy belongs here.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any

from orbit_core.client import _convert
from orbit_core.client._resuming import GivenLogs, GivenResults
from orbit_core.client._routing import OnWait, Patience, Router
from orbit_core.client.context import parse_addresses, resolve_addresses
from orbit_core.client.scheduling import SchedulingCalls
from orbit_core.client.types import (
    Agent,
    Cluster,
    Invocation,
    InvocationState,
    LogRecord,
    Mesh,
    Result,
    Run,
    RunState,
    Secret,
    Submission,
    Validation,
)
from orbit_core.clock import Clock
from orbit_core.errors import InvalidRequestError, LimitError
from orbit_core.limits import PAGE_DEFAULT, PAGE_MAX, SPEC_MAX_BYTES
from orbit_core.pb.orbit.v1 import agents_pb2 as agents_pb
from orbit_core.pb.orbit.v1 import agents_pb2_grpc, clusters_pb2_grpc, runs_pb2_grpc, secrets_pb2_grpc
from orbit_core.pb.orbit.v1 import clusters_pb2 as clusters_pb
from orbit_core.pb.orbit.v1 import runs_pb2 as runs_pb
from orbit_core.pb.orbit.v1 import secrets_pb2 as secrets_pb


class OrbitClient(SchedulingCalls):
    """A client of one mesh, for one event loop; `async with` closes it.

    `addresses`: coordinators, as `"host:port"`, several with commas or in a sequence; None asks `ORBIT_ADDRESS` and
    the context file that `orbit up` writes. The client follows the leader: a change of leader is a pause of some
    seconds, not an error, and streams go on without repeating what they gave.

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
    ) -> None:
        self._router = Router(_source(addresses), patience or Patience(), clock=clock, jitter=jitter, on_wait=on_wait)

    async def __aenter__(self) -> OrbitClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._router.close()

    # Clusters

    async def validate(self, file: str | Path | bytes, *, file_name: str = "") -> Validation:
        """Check a cluster file (a path, or its bytes) against the mesh's catalog; stores nothing."""
        content, name = _content(file, file_name)
        request = clusters_pb.ValidateClusterRequest(content=content, file_name=name)
        response = await self._router.unary(
            lambda channel: clusters_pb2_grpc.ClusterServiceStub(channel).ValidateCluster, request
        )
        diagnostics = tuple(_convert.diagnostic(each) for each in response.diagnostics)
        return Validation(name, response.identifier, diagnostics)

    async def submit(
        self, file: str | Path | bytes, *, file_name: str = "", request_id: str | None = None
    ) -> Submission:
        """Store a cluster file (a path, or its bytes). Raises `InvalidSpecError` with every problem that fits."""
        content, name = _content(file, file_name)
        request = clusters_pb.SubmitClusterRequest(
            content=content, file_name=name, request_id=request_id or _request_id()
        )
        response = await self._router.unary(
            lambda channel: clusters_pb2_grpc.ClusterServiceStub(channel).SubmitCluster, request
        )
        warnings = tuple(_convert.diagnostic(each) for each in response.diagnostics)
        return Submission(_convert.cluster(response.cluster), warnings, response.changed)

    async def clusters(self, project: str = "") -> tuple[Cluster, ...]:
        """All clusters, or those of one project."""
        found: list[Cluster] = []
        token = ""
        while True:
            request = clusters_pb.ListClustersRequest(project=project, page_size=PAGE_MAX, page_token=token)
            response = await self._router.unary(
                lambda channel: clusters_pb2_grpc.ClusterServiceStub(channel).ListClusters, request
            )
            found.extend(_convert.cluster(each) for each in response.clusters)
            token = response.next_page_token
            if not token:
                return tuple(found)

    async def cluster(self, identifier: str) -> Cluster:
        """One cluster, with its document."""
        response = await self._router.unary(
            lambda channel: clusters_pb2_grpc.ClusterServiceStub(channel).GetCluster,
            clusters_pb.GetClusterRequest(identifier=identifier),
        )
        return _convert.cluster(response.cluster)

    # Runs

    async def trigger(
        self, cluster: str, payload: Mapping[str, Any] | None = None, *, request_id: str | None = None
    ) -> Run:
        """Start a run. The same `request_id` again gives the same run."""
        request = runs_pb.TriggerRunRequest(
            cluster=cluster,
            payload_json=json.dumps(dict(payload or {})).encode(),
            request_id=request_id or _request_id(),
        )
        response = await self._router.unary(lambda channel: runs_pb2_grpc.RunServiceStub(channel).TriggerRun, request)
        return _convert.run(response.run)

    async def run(self, run_id: str) -> Run:
        response = await self._router.unary(
            lambda channel: runs_pb2_grpc.RunServiceStub(channel).GetRun, runs_pb.GetRunRequest(run_id=run_id)
        )
        return _convert.run(response.run)

    async def runs(
        self, cluster: str = "", *, states: Iterable[RunState] = (), limit: int = PAGE_DEFAULT
    ) -> tuple[Run, ...]:
        """At most `limit` runs, the newest first."""
        wanted = [_enum(runs_pb.RunState, "RUN_STATE_", state) for state in states]
        found: list[Run] = []
        token = ""
        while len(found) < limit:
            request = runs_pb.ListRunsRequest(
                cluster=cluster, states=wanted, page_size=min(PAGE_MAX, limit - len(found)), page_token=token
            )
            response = await self._router.unary(lambda channel: runs_pb2_grpc.RunServiceStub(channel).ListRuns, request)
            found.extend(_convert.run(each) for each in response.runs)
            token = response.next_page_token
            if not token:
                break
        return tuple(found[:limit])

    async def watch(self, run_id: str) -> AsyncGenerator[Run, None]:
        """The run now, then again whenever it has changed; the last one has ended."""
        last: list[Run] = []

        def new(response: runs_pb.WatchRunResponse) -> list[Run]:
            now = [_convert.run(response.run)]
            changed = now != last
            last[:] = now
            return now if changed else []

        async def complete() -> bool:
            return any(run.ended for run in last)

        stream = self._router.stream(
            lambda channel: runs_pb2_grpc.RunServiceStub(channel).WatchRun,
            runs_pb.WatchRunRequest(run_id=run_id),
            new=new,
            complete=complete,
        )
        async with aclosing(stream):
            async for run in stream:
                yield run

    async def results(
        self, run_id: str, *, follow: bool = True, steps: Iterable[str] = ()
    ) -> AsyncGenerator[Result, None]:
        """Each object that a lineage ended with, or its error, once; with `follow` until the run has ended.

        `steps`: also the objects of these steps, which others follow.
        """
        given = GivenResults()
        stream = self._router.stream(
            lambda channel: runs_pb2_grpc.RunServiceStub(channel).StreamResults,
            runs_pb.StreamResultsRequest(run_id=run_id, follow=follow, steps=list(steps)),
            new=lambda response: given.new(_convert.result(response.result)),
            complete=self._ended(run_id) if follow else None,
        )
        async with aclosing(stream):
            async for result in stream:
                yield result

    async def logs(
        self, run_id: str, *, follow: bool = False, step: str = "", invocation_id: str = ""
    ) -> AsyncGenerator[LogRecord, None]:
        """The run's log records as they came in; with `follow` until the run has ended."""
        given = GivenLogs()
        stream = self._router.stream(
            lambda channel: runs_pb2_grpc.RunServiceStub(channel).StreamLogs,
            runs_pb.StreamLogsRequest(run_id=run_id, follow=follow, step=step, invocation_id=invocation_id),
            new=lambda response: given.new(_convert.log_record(each) for each in response.records),
            restarted=given.restart,
            complete=self._ended(run_id) if follow else None,
        )
        async with aclosing(stream):
            async for record in stream:
                yield record

    async def invocations(
        self, run_id: str, *, step: str = "", states: Iterable[InvocationState] = ()
    ) -> AsyncGenerator[Invocation, None]:
        """The run's invocations, page by page."""
        wanted = [_enum(runs_pb.InvocationState, "INVOCATION_STATE_", state) for state in states]
        token = ""
        while True:
            request = runs_pb.ListInvocationsRequest(
                run_id=run_id, step=step, states=wanted, page_size=PAGE_MAX, page_token=token
            )
            response = await self._router.unary(
                lambda channel: runs_pb2_grpc.RunServiceStub(channel).ListInvocations, request
            )
            for each in response.invocations:
                yield _convert.invocation(each)
            token = response.next_page_token
            if not token:
                return

    async def cancel(self, run_id: str, *, reason: str = "") -> Run:
        """End a run's attempts and drop late results. A run that has ended stays as it is."""
        response = await self._router.unary(
            lambda channel: runs_pb2_grpc.RunServiceStub(channel).CancelRun,
            runs_pb.CancelRunRequest(run_id=run_id, reason=reason),
        )
        return _convert.run(response.run)

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

    async def delete_secret(self, cluster: str, name: str) -> bool:
        """Whether there was one (False too where an earlier attempt of this call had deleted it unseen)."""
        response = await self._router.unary(
            lambda channel: secrets_pb2_grpc.SecretServiceStub(channel).DeleteSecret,
            secrets_pb.DeleteSecretRequest(cluster=cluster, name=name),
        )
        return response.deleted

    def _ended(self, run_id: str) -> Callable[[], Awaitable[bool]]:
        async def complete() -> bool:
            return (await self.run(run_id)).ended

        return complete


def _source(addresses: str | Sequence[str] | None) -> Callable[[], Sequence[str]]:
    if addresses is None:
        return resolve_addresses
    fixed = parse_addresses(addresses if isinstance(addresses, str) else ",".join(addresses))
    return lambda: fixed


def _content(file: str | Path | bytes, file_name: str) -> tuple[bytes, str]:
    """The bytes to send and the name for messages. Refuses what the coordinator would refuse for its size."""
    if isinstance(file, bytes):
        content, name = file, file_name or "cluster.yml"
    else:
        try:
            content, name = Path(file).read_bytes(), file_name or str(file)
        except OSError as error:
            raise InvalidRequestError(
                f"{file} cannot be read: {error.strerror}", remedy="name a cluster file"
            ) from error
    if len(content) > SPEC_MAX_BYTES:
        raise LimitError(
            f"{name} has {len(content)} bytes; a cluster file may have {SPEC_MAX_BYTES}",
            remedy="large texts belong into objects or files, not into the cluster file",
        )
    return content, name


def _request_id() -> str:
    return f"req-{uuid.uuid4().hex}"


def _enum(kind: Any, prefix: str, word: str) -> Any:
    """`partially-succeeded` as its number. Raises `InvalidRequestError` for a word that is not a state."""
    try:
        return kind.Value(prefix + word.upper().replace("-", "_"))
    except ValueError:
        known = [name.removeprefix(prefix).lower().replace("_", "-") for name in kind.keys()[1:]]
        raise InvalidRequestError(f"{word!r} is not a state", remedy=f"states are {', '.join(known)}") from None
