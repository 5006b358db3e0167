"""Clusters made of Python objects, sent by the client: what goes out, and how what is wrong comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orbit_core.client import OrbitClient, SyncOrbitClient
from orbit_core.errors import InvalidSpecError
from orbit_core.pb.orbit.v1 import clusters_pb2
from orbit_core.spec.build import ApiCall, Cluster, Step
from orbit_core.spec.loader import load
from tests.unit.fake_mesh import FakeCoordinator, FakeMesh

CLUSTER = Cluster("demo/built", "10m", [ApiCall()], [Step("one", "satellite/orbit/echo", {"key": 1})])
UNKNOWN = 'unknown key "key" (expected delay-ms)'


@pytest.fixture
def mesh() -> FakeMesh:
    return FakeMesh()


@pytest.fixture
def coordinator(mesh: FakeMesh) -> Iterator[FakeCoordinator]:
    coordinator = FakeCoordinator(mesh)
    yield coordinator
    coordinator.stop()


def diagnostic(severity: clusters_pb2.Severity, word: str, path: str, description: str) -> clusters_pb2.Diagnostic:
    text = f"Cluster('demo/built'):12:7: {word}: {path}: {description}"
    return clusters_pb2.Diagnostic(severity=severity, line=12, column=7, path=path, text=text)


async def test_what_is_sent_is_the_file_that_the_objects_write(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    async with OrbitClient(coordinator.address) as client:
        assert (await client.submit(CLUSTER)).changed
        (stored,) = mesh.clusters.values()
        assert load(stored.document).unwrap() == CLUSTER.build()


async def test_problems_come_back_with_places_among_the_objects(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    mesh.diagnostics = [
        diagnostic(clusters_pb2.SEVERITY_ERROR, "error", "cluster.satellites[0].config.key", UNKNOWN),
        diagnostic(clusters_pb2.SEVERITY_WARNING, "warning", "cluster.trigger[0]", "nobody listens"),
    ]
    error = f"Cluster('demo/built'): error: steps[0].config[\"key\"]: {UNKNOWN}"
    async with OrbitClient(coordinator.address) as client:
        with pytest.raises(InvalidSpecError) as caught:
            await client.submit(CLUSTER)
        validation = await client.validate(CLUSTER)
    assert [(each.path, each.description) for each in caught.value.violations] == [('steps[0].config["key"]', error)]
    assert error in str(caught.value)
    assert validation.file == "Cluster('demo/built')"
    assert [(each.path, each.line, each.text) for each in validation.diagnostics] == [
        ('steps[0].config["key"]', 0, error),
        ("triggers[0]", 0, "Cluster('demo/built'): warning: triggers[0]: nobody listens"),
    ]


def test_a_program_without_a_loop_sends_them_too(mesh: FakeMesh, coordinator: FakeCoordinator) -> None:
    with SyncOrbitClient(coordinator.address) as client:
        client.submit(CLUSTER)
    assert [each.document for each in mesh.clusters.values()] == [CLUSTER.to_yaml()]
