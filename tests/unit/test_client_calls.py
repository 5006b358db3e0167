"""Every method against a real port: what is sent, what comes back, what is raised."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orbit_core.client as public
from orbit_core.client import OrbitClient, SyncOrbitClient, to_json
from orbit_core.errors import (
    ConflictError,
    InvalidRequestError,
    InvalidSpecError,
    LimitError,
    NotFoundError,
)
from orbit_core.limits import SPEC_MAX_BYTES
from orbit_core.pb.orbit.v1 import agents_pb2, clusters_pb2, common_pb2, runs_pb2
from tests.unit.fake_mesh import FakeCoordinator, FakeMesh


@pytest.fixture
def mesh() -> FakeMesh:
    return FakeMesh()


@pytest.fixture
def coordinator(mesh: FakeMesh) -> Iterator[FakeCoordinator]:
    coordinator = FakeCoordinator(mesh)
    yield coordinator
    coordinator.stop()


async def test_clusters(mesh: FakeMesh, coordinator: FakeCoordinator, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yml"
    file.write_text("version: 0.0.1b\n")
    async with OrbitClient(coordinator.address) as client:
        assert (await client.validate(file)).ok
        submission = await client.submit(file)
        assert submission.changed
        assert submission.cluster.identifier == "demo/reports"
        assert submission.cluster.steps == ("list", "parse")
        assert submission.cluster.next_run_ms is None
        assert (await client.cluster("demo/reports")).document == "version: 0.0.1b\n"
        for name in ("demo/a", "demo/b", "other/c"):
            mesh.clusters[name] = clusters_pb2.Cluster(identifier=name)
        names = [each.identifier for each in await client.clusters("demo")]
        assert names == ["demo/reports", "demo/a", "demo/b"]
        with pytest.raises(NotFoundError):
            await client.cluster("demo/none")


async def test_an_invalid_file_names_every_problem(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    mesh.diagnostics = [
        clusters_pb2.Diagnostic(
            severity=clusters_pb2.SEVERITY_ERROR, line=4, column=2, path="cluster.sla", text="f.yml:4:2: error: sla"
        ),
        clusters_pb2.Diagnostic(severity=clusters_pb2.SEVERITY_WARNING, line=9, text="f.yml:9:1: warning: w"),
    ]
    async with OrbitClient(coordinator.address) as client:
        validation = await client.validate(b"x: 1", file_name="f.yml")
        assert not validation.ok
        assert [(each.severity, each.line) for each in validation.diagnostics] == [("error", 4), ("warning", 9)]
        with pytest.raises(InvalidSpecError) as caught:
            await client.submit(b"x: 1")
    assert [each.description for each in caught.value.violations] == ["f.yml:4:2: error: sla"]


async def test_a_file_too_large_or_missing_is_not_sent(coordinator: FakeCoordinator, tmp_path: Path) -> None:
    async with OrbitClient(coordinator.address) as client:
        with pytest.raises(LimitError):
            await client.submit(b"x" * (SPEC_MAX_BYTES + 1))
        with pytest.raises(InvalidRequestError, match="cannot be read"):
            await client.submit(tmp_path / "none.yml")
    assert not coordinator.calls


async def test_runs(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    async with OrbitClient(coordinator.address) as client:
        run = await client.trigger("demo/reports", {"day": "2026-01-31"}, request_id="r1")
        again = await client.trigger("demo/reports", {"day": "2026-01-31"}, request_id="r1")
        assert run == again
        assert (run.state, run.sla, run.ended, run.ended_ms) == ("running", "pending", False, None)
        others = [await client.trigger("demo/other") for _ in range(3)]
        assert len({each.run_id for each in others}) == 3, "calls without a request id are calls of their own"
        assert [each.run_id for each in await client.runs("demo/reports")] == [run.run_id]
        assert len(await client.runs()) == 4
        assert len(await client.runs(limit=3)) == 3
        ended = await client.cancel(run.run_id, reason="no more")
        assert (ended.state, ended.reason, ended.ended) == ("cancelled", "no more", True)
        assert [each.run_id for each in await client.runs(states=["cancelled"])] == [run.run_id]
        with pytest.raises(NotFoundError) as caught:
            await client.run("run-none")
        assert caught.value.remedy == "`orbit runs` lists them"
        with pytest.raises(InvalidRequestError, match="not a state"):
            await client.runs(states=["finished"])  # pyright: ignore[reportArgumentType]


async def test_invocations_results_and_logs(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    mesh.runs["r"] = runs_pb2.Run(run_id="r", state=runs_pb2.RUN_STATE_PARTIALLY_SUCCEEDED)
    mesh.invocations = [
        runs_pb2.Invocation(
            invocation_id=f"i{n}", step="parse", state=runs_pb2.INVOCATION_STATE_SUCCEEDED, outputs_json=[b'{"n": 1}']
        )
        for n in range(5)
    ]
    mesh.results = [
        runs_pb2.Result(invocation_id="i0", json=b'{"company": "A"}', cost_usd=0.5, lineage=["a", "i0"]),
        runs_pb2.Result(invocation_id="i1", failure=common_pb2.Failure(code="pdf", message="not a PDF")),
    ]
    mesh.logs = [common_pb2.LogRecord(time_ms=1, level="info", message="hello", step="parse")]
    async with OrbitClient(coordinator.address) as client:
        found = [each async for each in client.invocations("r")]
        assert [each.invocation_id for each in found] == ["i0", "i1", "i2", "i3", "i4"]
        assert (found[0].state, found[0].section, found[0].values) == ("succeeded", "main", ({"n": 1},))
        assert [each async for each in client.invocations("r", states=["failed"])] == []
        good, bad = [each async for each in client.results("r")]
        assert (good.value, good.failure, good.lineage) == ({"company": "A"}, None, ("a", "i0"))
        assert bad.value is None and bad.failure is not None and bad.failure.code == "pdf"
        assert [each.message async for each in client.logs("r")] == ["hello"]


async def test_agents_and_mesh(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    mesh.agents["a1"] = agents_pb2.Agent(
        advertisement=agents_pb2.Advertisement(
            agent_id="a1",
            price_usd_per_hour=0.12,
            price_kind=agents_pb2.PRICE_KIND_ON_DEMAND,
            hardware=agents_pb2.Hardware(cpu_milli=2000, gpus=[agents_pb2.Gpu(model="H100", memory_bytes=80)]),
            labels={"zone": "a"},
        ),
        state=agents_pb2.AGENT_STATE_ATTACHED,
        running=[agents_pb2.RunningInvocation(invocation_id="i", step="parse")],
    )
    async with OrbitClient(coordinator.address) as client:
        (agent,) = await client.agents()
        assert (agent.agent_id, agent.state, agent.price_kind) == ("a1", "attached", "on-demand")
        assert agent.hardware.gpus[0].model == "H100"
        assert to_json(agent)["hardware"]["gpus"] == [{"model": "H100", "memory_bytes": 80}]
        assert (await client.drain("a1")).state == "draining"
        with pytest.raises(NotFoundError):
            await client.drain("a2")
        assert (await client.mesh()).leader_id == "c0"


async def test_secrets(coordinator: FakeCoordinator) -> None:
    async with OrbitClient(coordinator.address) as client:
        secret = await client.set_secret("demo/reports", "TOKEN", "hunter2")
        assert "hunter2" not in repr(secret)
        assert [each.name for each in await client.secrets("demo/reports")] == ["TOKEN"]
        assert await client.delete_secret("demo/reports", "TOKEN")
        assert not await client.delete_secret("demo/reports", "TOKEN")
        with pytest.raises(ConflictError):
            await client.delete_secret("demo/reports", "KEPT")


def test_the_synchronous_client_is_the_same(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    mesh.runs["r"] = runs_pb2.Run(run_id="r", state=runs_pb2.RUN_STATE_SUCCEEDED)
    mesh.results = [runs_pb2.Result(invocation_id=f"i{n}", json=b"{}") for n in range(50)]
    with SyncOrbitClient(coordinator.address) as client:
        assert client.submit(b"version: 0.0.1b").changed
        assert client.trigger("demo/reports").state == "running"
        assert len(list(client.results("r"))) == 50
        for result in client.results("r"):
            assert result.invocation_id == "i0"
            break
        with pytest.raises(NotFoundError):
            client.run("none")
    client.close()
    assert not [each for each in threading.enumerate() if each.name == "orbit-client"]


@pytest.mark.parametrize(
    "name", [name for name, member in inspect.getmembers(OrbitClient) if callable(member) and name[0] != "_"]
)
def test_both_clients_take_the_same_arguments(name: str) -> None:
    def arguments(kind: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(getattr(kind, name)).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    assert arguments(OrbitClient) == arguments(SyncOrbitClient)


def test_the_public_surface() -> None:
    """Names that programs rely on: add to this list, take nothing away."""
    assert set(public.__all__) == {
        *("OrbitClient", "SyncOrbitClient", "Patience", "OnWait"),
        *("context_file", "orbit_home", "parse_addresses", "resolve_addresses", "to_json", "ENDED"),
        *("Agent", "AgentState", "Cluster", "Diagnostic", "Failure", "Gpu", "Hardware", "Invocation"),
        *("InvocationState", "LogRecord", "Mesh", "PriceKind", "Result", "Run", "RunningInvocation", "RunState"),
        *("Secret", "Severity", "SlaState", "StepProgress", "Submission", "Usage", "Validation"),
        *("ClusterSource", "ClusterVersion", "Download", "FileRef", "RunPage", "files_in"),
        *("Batch", "BatchAnswers", "BatchFile", "BatchSubmission", "LineProblem", "Model"),
        *("ModelFile", "ModelOnAgent", "ModelState", "Pull"),
        *("CostKey", "CostLine", "Elsewhere", "Explanation", "Quotation", "QuotedSla"),
    }
    methods = {name for name, member in inspect.getmembers(OrbitClient) if callable(member) and name[0] != "_"}
    assert methods == {
        *("validate", "submit", "clusters", "cluster", "trigger", "run", "runs", "watch", "results", "logs"),
        *("invocations", "cancel", "agents", "drain", "mesh", "set_secret", "secrets", "delete_secret", "close"),
        *("quote", "explain", "cost"),
        *("add_model", "batch", "batch_results", "models", "pull_model", "remove_model"),
        *("submit_batch", "watch_pull"),
        *("enable", "disable", "delete_cluster", "versions", "roll_back", "rotate_key"),
        *("retry", "resume", "delete_run", "runs_page", "file", "download"),
    }
