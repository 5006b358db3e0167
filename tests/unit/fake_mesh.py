"""Coordinators with canned state behind a real gRPC port, for tests of the client and of the commands.

`FakeMesh` holds what is true of a mesh; each `FakeCoordinator` serves it, leads or does not, and misbehaves on
request: `stumble` makes the next calls of a method fail, `break_after` breaks a stream after some messages.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import dropwhile
from typing import Any

import grpc
from grpc_status import rpc_status

from orbit_core.errors import ConflictError, FieldViolation, InvalidSpecError, NotFoundError, NotLeaderError, OrbitError
from orbit_core.pb.orbit.v1 import (
    agents_pb2,
    agents_pb2_grpc,
    clusters_pb2,
    clusters_pb2_grpc,
    common_pb2,
    runs_pb2,
    runs_pb2_grpc,
    secrets_pb2,
    secrets_pb2_grpc,
)
from orbit_core.rpc_errors import to_status


class FakeMesh:
    """What all coordinators of one mesh agree on."""

    def __init__(self) -> None:
        self.leader: FakeCoordinator | None = None
        self.clusters: dict[str, clusters_pb2.Cluster] = {}
        self.diagnostics: list[clusters_pb2.Diagnostic] = []
        self.runs: dict[str, runs_pb2.Run] = {}
        #: What a watch of a run gives, one after the other.
        self.story: dict[str, list[runs_pb2.Run]] = {}
        self.results: list[runs_pb2.Result] = []
        self.logs: list[common_pb2.LogRecord] = []
        self.invocations: list[runs_pb2.Invocation] = []
        self.agents: dict[str, agents_pb2.Agent] = {}
        self.secrets: dict[tuple[str, str], str] = {}
        self.requests: dict[str, Any] = {}
        #: The hashes that a cluster has had, the current one first.
        self.versions: dict[str, list[str]] = defaultdict(list)
        self.files: dict[str, bytes] = {}
        #: Of every watch, the token that it began with.
        self.resume_tokens: list[str] = []

    def run_of_request(self, request: runs_pb2.TriggerRunRequest) -> tuple[runs_pb2.Run, bool]:
        created = request.request_id not in self.requests
        if created:
            run = runs_pb2.Run(
                run_id=f"run-{len(self.runs) + 1}",
                cluster=request.cluster,
                state=runs_pb2.RUN_STATE_RUNNING,
                sla=runs_pb2.SLA_STATE_PENDING,
                trigger="api-call",
                created_ms=1_700_000_000_000,
                deadline_ms=1_700_000_600_000,
            )
            self.runs[run.run_id] = run
            self.requests[request.request_id] = run.run_id
        return self.runs[self.requests[request.request_id]], created

    def known_run(self, run_id: str) -> runs_pb2.Run:
        if run_id not in self.runs:
            raise NotFoundError(f"there is no run {run_id}", remedy="`orbit runs` lists them")
        return self.runs[run_id]


class FakeCoordinator(
    clusters_pb2_grpc.ClusterServiceServicer,
    runs_pb2_grpc.RunServiceServicer,
    agents_pb2_grpc.AgentServiceServicer,
    secrets_pb2_grpc.SecretServiceServicer,
):
    """One process's worth of coordinator; the first of a mesh leads."""

    def __init__(self, mesh: FakeMesh, name: str = "c0") -> None:
        self.mesh = mesh
        self.name = name
        self.calls: dict[str, int] = defaultdict(int)
        self.metadata: list[Any] = []
        self._stumbles: dict[str, list[OrbitError]] = defaultdict(list)
        self._breaks: dict[str, list[int]] = defaultdict(list)
        self._after_break: dict[str, list[OrbitError]] = defaultdict(list)
        self._knows_leader = True
        self._port = 0
        self._server: grpc.Server | None = None
        self.start()
        if mesh.leader is None:
            mesh.leader = self

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Serve, at the same port as before."""
        # One thread for each call that is being served: streams that are never ended hold theirs.
        self._server = grpc.server(ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        clusters_pb2_grpc.add_ClusterServiceServicer_to_server(self, self._server)
        runs_pb2_grpc.add_RunServiceServicer_to_server(self, self._server)
        agents_pb2_grpc.add_AgentServiceServicer_to_server(self, self._server)
        secrets_pb2_grpc.add_SecretServiceServicer_to_server(self, self._server)
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def stumble(self, method: str, *errors: OrbitError) -> None:
        self._stumbles[method].extend(errors)

    def break_after(self, method: str, *messages: int, then: Sequence[OrbitError] = ()) -> None:
        """Each number is one call's: after so many messages its stream breaks as if the process had died.

        `then`: what the calls after the first break stumble over.
        """
        self._breaks[method].extend(messages)
        self._after_break[method].extend(then)

    def forget_leader(self) -> None:
        self._knows_leader = False

    def _enter(self, method: str, context: Any) -> None:
        self.calls[method] += 1
        if self._stumbles[method]:
            self._fail(context, self._stumbles[method].pop(0))
        leader = self.mesh.leader
        if leader is not self:
            known = leader.address if leader and self._knows_leader else None
            self._fail(context, NotLeaderError(f"{self.name} does not lead", leader=known))

    def _fail(self, context: Any, error: OrbitError) -> None:
        context.abort_with_status(rpc_status.to_status(to_status(error)))

    def _breaking(self, method: str, context: Any, messages: Iterator[Any]) -> Iterator[Any]:
        left = self._breaks[method].pop(0) if self._breaks[method] else None
        for message in messages:
            if left == 0:
                self.stumble(method, *self._after_break.pop(method, []))
                context.abort(grpc.StatusCode.UNAVAILABLE, "the process died")
            yield message
            left = None if left is None else left - 1

    # Clusters

    def ValidateCluster(self, request: Any, context: Any) -> Any:
        self._enter("ValidateCluster", context)
        return clusters_pb2.ValidateClusterResponse(
            identifier="" if self.mesh.diagnostics else "demo/reports", diagnostics=self.mesh.diagnostics
        )

    def SubmitCluster(self, request: Any, context: Any) -> Any:
        self._enter("SubmitCluster", context)
        broken = [each for each in self.mesh.diagnostics if each.severity == clusters_pb2.SEVERITY_ERROR]
        if broken:
            violations = [FieldViolation(each.path, each.text) for each in broken]
            self._fail(context, InvalidSpecError(f"{len(broken)} problems", violations=violations))
        cluster = clusters_pb2.Cluster(
            identifier="demo/reports",
            title="Reports",
            spec_hash="ab" * 32,
            sla_ms=600_000,
            enabled=True,
            submitted_ms=1_700_000_000_000,
            triggers=["api-call"],
            steps=["list", "parse"],
            document=request.content.decode(),
        )
        changed = request.request_id not in self.mesh.requests
        self.mesh.requests[request.request_id] = cluster.identifier
        self.mesh.clusters[cluster.identifier] = cluster
        return clusters_pb2.SubmitClusterResponse(cluster=cluster, diagnostics=self.mesh.diagnostics, changed=changed)

    def ListClusters(self, request: Any, context: Any) -> Any:
        self._enter("ListClusters", context)
        found = [each for each in self.mesh.clusters.values() if each.identifier.startswith(request.project)]
        page, token = _page(found, 2, request.page_token)
        return clusters_pb2.ListClustersResponse(clusters=page, next_page_token=token)

    def GetCluster(self, request: Any, context: Any) -> Any:
        self._enter("GetCluster", context)
        if request.identifier not in self.mesh.clusters:
            self._fail(context, NotFoundError(f"there is no cluster {request.identifier}"))
        return clusters_pb2.GetClusterResponse(cluster=self.mesh.clusters[request.identifier])

    def _cluster(self, identifier: str, context: Any) -> clusters_pb2.Cluster:
        if identifier not in self.mesh.clusters:
            self._fail(
                context, NotFoundError(f"there is no cluster {identifier}", remedy="`orbit clusters` lists them")
            )
        return self.mesh.clusters[identifier]

    def SetClusterEnabled(self, request: Any, context: Any) -> Any:
        self._enter("SetClusterEnabled", context)
        cluster = self._cluster(request.identifier, context)
        cluster.enabled = request.enabled
        return clusters_pb2.SetClusterEnabledResponse(cluster=cluster)

    def DeleteCluster(self, request: Any, context: Any) -> Any:
        self._enter("DeleteCluster", context)
        return clusters_pb2.DeleteClusterResponse(deleted=self.mesh.clusters.pop(request.identifier, None) is not None)

    def ListClusterVersions(self, request: Any, context: Any) -> Any:
        self._enter("ListClusterVersions", context)
        versions = [
            clusters_pb2.ClusterVersion(spec_hash=spec_hash, submitted_ms=1_700_000_000_000, current=number == 0)
            for number, spec_hash in enumerate(self.mesh.versions[request.identifier])
        ]
        return clusters_pb2.ListClusterVersionsResponse(versions=versions)

    def RollBackCluster(self, request: Any, context: Any) -> Any:
        self._enter("RollBackCluster", context)
        cluster = self._cluster(request.identifier, context)
        known = self.mesh.versions[request.identifier]
        found = next(each for each in known if each.startswith(request.spec_hash))
        self.mesh.versions[request.identifier] = [found, *(each for each in known if each != found)]
        cluster.spec_hash = found
        return clusters_pb2.RollBackClusterResponse(cluster=cluster)

    # Runs

    def TriggerRun(self, request: Any, context: Any) -> Any:
        self._enter("TriggerRun", context)
        json.loads(request.payload_json)
        run, created = self.mesh.run_of_request(request)
        return runs_pb2.TriggerRunResponse(run=run, created=created)

    def _run(self, run_id: str, context: Any) -> runs_pb2.Run:
        try:
            return self.mesh.known_run(run_id)
        except NotFoundError as error:
            self._fail(context, error)
            raise

    def GetRun(self, request: Any, context: Any) -> Any:
        self._enter("GetRun", context)
        return runs_pb2.GetRunResponse(run=self._run(request.run_id, context))

    def ListRuns(self, request: Any, context: Any) -> Any:
        self._enter("ListRuns", context)
        found = [
            run
            for run in reversed(self.mesh.runs.values())
            if request.cluster in ("", run.cluster)
            and run.cluster.startswith(request.project)
            and (not request.states or run.state in request.states)
            and (not request.slas or run.sla in request.slas)
            and request.created_from_ms <= run.created_ms
            and (not request.created_before_ms or run.created_ms < request.created_before_ms)
        ]
        page, token = _page(found, min(2, request.page_size), request.page_token)
        return runs_pb2.ListRunsResponse(runs=page, next_page_token=token)

    def WatchRun(self, request: Any, context: Any) -> Any:
        self._enter("WatchRun", context)
        story = self.mesh.story.get(request.run_id) or [self._run(request.run_id, context)]
        self.mesh.resume_tokens.append(request.resume_token)
        told = [runs_pb2.WatchRunResponse(run=run, resume_token=_picture(run)) for run in story]
        messages = dropwhile(lambda message: message.resume_token == request.resume_token, told)
        yield from self._breaking("WatchRun", context, messages)

    def StreamResults(self, request: Any, context: Any) -> Any:
        self._enter("StreamResults", context)
        self._run(request.run_id, context)
        messages = (runs_pb2.StreamResultsResponse(result=result) for result in list(self.mesh.results))
        yield from self._breaking("StreamResults", context, messages)

    def StreamLogs(self, request: Any, context: Any) -> Any:
        self._enter("StreamLogs", context)
        self._run(request.run_id, context)
        messages = (runs_pb2.StreamLogsResponse(records=[record]) for record in list(self.mesh.logs))
        yield from self._breaking("StreamLogs", context, messages)

    def ListInvocations(self, request: Any, context: Any) -> Any:
        self._enter("ListInvocations", context)
        found = [
            each
            for each in self.mesh.invocations
            if request.step in ("", each.step) and (not request.states or each.state in request.states)
        ]
        page, token = _page(found, 2, request.page_token)
        return runs_pb2.ListInvocationsResponse(invocations=page, next_page_token=token)

    def CancelRun(self, request: Any, context: Any) -> Any:
        self._enter("CancelRun", context)
        run = self._run(request.run_id, context)
        run.state = runs_pb2.RUN_STATE_CANCELLED
        run.reason = request.reason
        return runs_pb2.CancelRunResponse(run=run)

    def DownloadFile(self, request: Any, context: Any) -> Any:
        self._enter("DownloadFile", context)
        content = self.mesh.files[request.sha256][request.offset :]
        messages = (runs_pb2.DownloadFileResponse(chunk=content[at : at + 4]) for at in range(0, len(content), 4))
        yield from self._breaking("DownloadFile", context, messages)

    def RetryRun(self, request: Any, context: Any) -> Any:
        self._enter("RetryRun", context)
        old = self._run(request.run_id, context)
        asked = runs_pb2.TriggerRunRequest(cluster=old.cluster, request_id=request.request_id)
        run, created = self.mesh.run_of_request(asked)
        run.retry_of = old.run_id
        return runs_pb2.RetryRunResponse(run=run, created=created)

    def ResumeRun(self, request: Any, context: Any) -> Any:
        self._enter("ResumeRun", context)
        run = self._run(request.run_id, context)
        run.state = runs_pb2.RUN_STATE_RUNNING
        run.budget_usd = request.budget_usd or run.budget_usd
        return runs_pb2.ResumeRunResponse(run=run)

    def DeleteRun(self, request: Any, context: Any) -> Any:
        self._enter("DeleteRun", context)
        return runs_pb2.DeleteRunResponse(deleted=self.mesh.runs.pop(request.run_id, None) is not None)

    # Agents

    def ListAgents(self, request: Any, context: Any) -> Any:
        self._enter("ListAgents", context)
        return agents_pb2.ListAgentsResponse(agents=self.mesh.agents.values())

    def DrainAgent(self, request: Any, context: Any) -> Any:
        self._enter("DrainAgent", context)
        if request.agent_id not in self.mesh.agents:
            self._fail(context, NotFoundError(f"there is no agent {request.agent_id}"))
        agent = self.mesh.agents[request.agent_id]
        agent.state = agents_pb2.AGENT_STATE_DRAINING
        return agents_pb2.DrainAgentResponse(agent=agent)

    def GetMesh(self, request: Any, context: Any) -> Any:
        leader = self.mesh.leader
        return agents_pb2.GetMeshResponse(
            coordinator_id=self.name,
            leader_id=leader.name if leader else "",
            leader_address=leader.address if leader else "",
            epoch=7,
            is_leader=leader is self,
            version="0.1.0",
        )

    # Secrets

    def SetSecret(self, request: Any, context: Any) -> Any:
        self._enter("SetSecret", context)
        self.mesh.secrets[request.cluster, request.name] = request.value
        return secrets_pb2.SetSecretResponse(secret=_secret(request.cluster, request.name))

    def ListSecrets(self, request: Any, context: Any) -> Any:
        self._enter("ListSecrets", context)
        names = [_secret(*key) for key in self.mesh.secrets if request.cluster in ("", key[0])]
        return secrets_pb2.ListSecretsResponse(secrets=names)

    def RotateKey(self, request: Any, context: Any) -> Any:
        self._enter("RotateKey", context)
        return secrets_pb2.RotateKeyResponse(key_id=f"key-of-{request.project}")

    def DeleteSecret(self, request: Any, context: Any) -> Any:
        self._enter("DeleteSecret", context)
        if request.name == "KEPT":
            self._fail(context, ConflictError("KEPT is kept"))
        deleted = self.mesh.secrets.pop((request.cluster, request.name), None) is not None
        return secrets_pb2.DeleteSecretResponse(deleted=deleted)


def _secret(cluster: str, name: str) -> secrets_pb2.Secret:
    return secrets_pb2.Secret(cluster=cluster, name=name, version=1)


def _picture(run: runs_pb2.Run) -> str:
    """The same for the same picture of a run, whoever gives it."""
    return sha256(run.SerializeToString(deterministic=True)).hexdigest()


def _page(items: list[Any], size: int, token: str) -> tuple[list[Any], str]:
    start = int(token or 0)
    return items[start : start + size], str(start + size) if start + size < len(items) else ""
