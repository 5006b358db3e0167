from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import orbit_core.spec.models as models_package
from orbit_core.spec.loader import load_document
from orbit_core.spec.models import (
    VERSION,
    ApiCallTrigger,
    Cluster,
    ClusterFile,
    CronTrigger,
    Failure,
    Gather,
    Resources,
    RetryPolicy,
    SatelliteRef,
    SecretDeclaration,
    Step,
    WebhookTrigger,
)


def step(identifier: str, **fields: Any) -> Step:
    return Step.model_validate({"uses": "satellite/acme/any", "identifier": identifier, **fields})


def cluster(*steps: Step, **fields: Any) -> Cluster:
    return Cluster.model_validate(
        {
            "identifier": "acme/demo",
            "sla": "1h",
            "trigger": [ApiCallTrigger()],
            "satellites": steps or (step("first"),),
            **fields,
        }
    )


# Retries


@pytest.mark.parametrize(
    ("policy", "delays_ms"),
    [
        (RetryPolicy(delay_ms=1_000, jitter="none"), [1_000, 2_000, 4_000, 8_000]),
        (RetryPolicy(delay_ms=1_000, jitter="none", backoff="linear"), [1_000, 2_000, 3_000, 4_000]),
        (RetryPolicy(delay_ms=1_000, jitter="none", backoff="fixed"), [1_000] * 4),
        (RetryPolicy(delay_ms=1_000, max_delay_ms=2_500, jitter="none"), [1_000, 2_000, 2_500, 2_500]),
        (RetryPolicy(delay_ms=0, jitter="none"), [0, 0, 0, 0]),
    ],
)
def test_delays_grow_as_the_backoff_says(policy: RetryPolicy, delays_ms: list[int]) -> None:
    assert [policy.delay_ms_for(attempt, 0.9) for attempt in (1, 2, 3, 4)] == delays_ms


def test_full_jitter_spreads_over_the_whole_delay() -> None:
    policy = RetryPolicy(delay_ms=1_000)
    assert [policy.delay_ms_for(2, draw) for draw in (0.0, 0.25, 0.5, 0.999)] == [0, 500, 1_000, 1_998]


def test_a_late_attempt_waits_no_longer_than_the_maximum() -> None:
    assert RetryPolicy(jitter="none").delay_ms_for(1_000_000, 0.0) == 300_000


@pytest.mark.parametrize(("attempt", "draw"), [(0, 0.5), (-1, 0.5), (1, 1.0), (1, -0.1)])
def test_attempts_count_from_one_and_draws_lie_below_one(attempt: int, draw: float) -> None:
    with pytest.raises(ValueError, match=r"attempts count|a draw lies"):
        RetryPolicy().delay_ms_for(attempt, draw)


def test_n_retries_are_n_plus_1_attempts() -> None:
    assert RetryPolicy().attempts == 6
    assert RetryPolicy(max_retries=0).attempts == 1


def test_a_steps_own_retries_win_and_what_they_leave_open_is_the_clusters() -> None:
    own = cluster(
        step("a"),
        step("b", retries={"max-retries": 0}),
        step("c", retries={"backoff": "fixed", "delay": "5s"}),
        retries={"max-retries": 3, "delay": "1s", "jitter": "none"},
    )
    a, b, c = (found.retries for found in own.satellites)
    assert (a.max_retries, a.delay_ms, a.jitter) == (3, 1_000, "none")
    assert (b.max_retries, b.delay_ms, b.jitter) == (0, 1_000, "none")
    assert (c.max_retries, c.delay_ms, c.jitter, c.backoff) == (3, 5_000, "none", "fixed")


# Needs and gathers


def test_a_step_needs_the_one_before_unless_it_says_otherwise() -> None:
    found = cluster(step("a"), step("b"), step("c", needs=["a"]), step("d", needs=[]), step("e"))
    assert [s.needs for s in found.satellites] == [(), ("a",), ("a",), (), ("d",)]


def test_logs_and_failure_are_chains_of_their_own() -> None:
    found = cluster(
        step("a"),
        step("b"),
        logs=[step("l"), step("m")],
        failure={"from": "a", "satellites": [step("f"), step("g", retries={"max-retries": 1})]},
        retries={"max-retries": 2},
    )
    assert [s.needs for s in found.logs] == [(), ("l",)]
    assert found.failure is not None
    assert [(s.needs, s.retries.max_retries) for s in found.failure.satellites] == [((), 2), (("f",), 1)]
    assert [s.identifier for s in found.all_steps()] == ["a", "b", "f", "g", "l", "m"]
    assert found.step("g") is found.failure.satellites[1]
    assert found.step("nobody") is None


@pytest.mark.parametrize(
    ("gather", "needs", "resolved"),
    [
        (None, ["b"], None),
        ({}, ["b"], Gather(over="run")),
        ({"when": "all-ended"}, ["b"], Gather(over="run", when="all-ended")),
        ({"over": "a"}, ["b"], Gather(over="a")),
        (None, ["b", "c"], Gather(over="a")),
        ({}, ["b", "c"], Gather(over="a")),
        ({"when": "all-ended"}, ["b", "c"], Gather(over="a", when="all-ended")),
        ({"over": "run"}, ["b", "c"], Gather(over="run")),
    ],
)
def test_what_a_gather_is_over(gather: Any, needs: list[str], resolved: Gather | None) -> None:
    found = cluster(step("a"), step("b"), step("c", needs=["a"]), step("d", needs=needs, gather=gather))
    assert found.satellites[3].gather == resolved


def test_a_default_rests_on_the_gathers_above_it_however_they_are_written() -> None:
    # e and f stand below the fan-in d, whose own `over` is left to default: their nearest common step is d.
    found = cluster(
        step("a"),
        step("b"),
        step("c", needs=["a"]),
        step("d", needs=["b", "c"], gather={"when": "all-ended"}),
        step("e"),
        step("f", needs=["d"]),
        step("g", needs=["e", "f"], gather={}),
    )
    assert found.satellites[3].gather == Gather(over="a", when="all-ended")
    assert found.satellites[6].gather == Gather(over="d")


# Secrets


def test_secret_values_leave_the_cluster_on_the_way_to_the_vault() -> None:
    declared = (
        SecretDeclaration(name="A", value="hunter2"),
        SecretDeclaration(name="B"),
        SecretDeclaration(name="C", reference="SHARED"),
    )
    original = cluster(secrets=declared)
    stripped, values = original.without_secret_values()
    assert values == {"A": "hunter2"}
    assert [secret.vault_name for secret in stripped.secrets] == ["A", "B", "SHARED"]
    for text in (repr(stripped), stripped.model_dump_json(), json.dumps(stripped.to_document())):
        assert "hunter2" not in text
    assert "hunter2" not in repr(original)
    assert stripped.without_secret_values() == (stripped, {})


def test_a_refusal_does_not_show_what_was_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        SecretDeclaration.model_validate({"name": "A", "value": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


def test_what_a_step_may_read_is_what_it_names() -> None:
    found = step(
        "a", config={"k": ["${{ secrets.X }} ${{ secrets.Y }}", "${{ secrets.X }}"]}, secrets={"K": "Z", "L": "X"}
    )
    assert found.secret_names() == ("Z", "X", "Y")


def test_all_references_of_a_step() -> None:
    found = step(
        "z", config={"a": "${{ secrets.X }}"}, input={"b": "${{ trigger.k }}"}, **{"if": "satellites.q.output.n > 1"}
    )
    assert [str(reference) for reference in found.references()] == [
        "secrets.X",
        "trigger.k",
        "satellites.q.output.n",
    ]


# Names


@pytest.mark.parametrize("text", ["satellite/acme/any", "satellite/acme/any@1.2.0", "satellite/a/b.c_d-e@v1+2"])
def test_a_satellites_name_writes_back(text: str) -> None:
    assert str(SatelliteRef.parse(text)) == text


def test_parts_of_names() -> None:
    ref = SatelliteRef.parse("satellite/acme/any@1")
    assert (ref.project, ref.name, ref.version, ref.full_name) == ("acme", "any", "1", "satellite/acme/any")
    found = cluster(identifier="cluster/acme/demo")
    assert (found.identifier, found.project, found.name, found.full_name) == (
        "acme/demo",
        "acme",
        "demo",
        "cluster/acme/demo",
    )


# Forms


FULL = cluster(
    step("a", config={"k": 1, "l": None}, secrets={"K": "X"}, delay="10s", timeout="5m", resources={"memory": "2Gi"}),
    step("b.c", retries={"max-retries": 1}, **{"if": "satellites.a.output.n > 1"}),
    step("d", needs=["a"], input={"x": "${{ trigger }}"}),
    step("e", needs=["b.c", "d"], gather={"when": "all-ended"}),
    step("f", gather={"over": "a"}),
    step("g", needs=[]),
    title="T",
    description="",
    objective="time",
    budget=2,
    priority=0,
    retries={"delay": "0s", "backoff": "linear"},
    trigger=[CronTrigger(cron="0 0 * * *", timezone="Europe/Berlin"), WebhookTrigger(path="/a", secret="X")],
    secrets=[
        SecretDeclaration(name="X", value="v"),
        SecretDeclaration(name="Y"),
        SecretDeclaration(name="Z", reference="Q"),
    ],
    logs=[step("l")],
    failure={"from": "b.c", "satellites": [step("h")]},
)


def test_a_document_loads_to_the_same_cluster() -> None:
    document = ClusterFile(version=VERSION, cluster=FULL).to_document()
    assert load_document(json.loads(json.dumps(document))).unwrap() == FULL
    assert load_document(document).unwrap().to_document() == FULL.to_document()


def test_a_document_leaves_out_what_is_the_default_anyway() -> None:
    assert cluster(step("a"), step("b")).to_document() == {
        "identifier": "acme/demo",
        "sla": "1h",
        "trigger": {"api-call": True},
        "satellites": [
            {"uses": "satellite/acme/any", "identifier": "a"},
            {"uses": "satellite/acme/any", "identifier": "b"},
        ],
    }


def test_storage_form_is_exact() -> None:
    assert Cluster.model_validate_json(FULL.model_dump_json()) == FULL
    assert Cluster.model_validate(json.loads(FULL.model_dump_json()), by_name=True) == FULL


def test_a_cluster_put_together_in_python_is_that_of_the_file() -> None:
    built = Cluster(
        identifier="acme/demo",
        sla_ms=3_600_000,
        triggers=(ApiCallTrigger(),),
        satellites=(
            Step(uses=SatelliteRef("acme", "any"), identifier="a"),
            Step(uses=SatelliteRef("acme", "any"), identifier="b", delay_ms=500, resources=Resources(cpu=2)),
        ),
        failure=Failure(from_step="a", satellites=(Step(uses=SatelliteRef("acme", "any"), identifier="c"),)),
    )
    assert built.satellites[1].needs == ("a",)
    assert load_document({"version": VERSION, "cluster": built.to_document()}).unwrap() == built


def test_models_do_not_change() -> None:
    with pytest.raises(ValidationError):
        FULL.priority = 3  # type: ignore[misc]


def test_resources_said_by_a_step_go_over_those_declared() -> None:
    declared = Resources(cpu=1, memory_bytes=100, gpu=1)
    assert Resources(cpu=2, gpu=0).over(declared) == Resources(cpu=2, memory_bytes=100, gpu=0)


def test_the_models_import_nothing_that_scheduling_may_not() -> None:
    """`orbit_core.sched` builds on them: neither they nor what they use may reach for I/O or the clock."""
    folder = Path(models_package.__file__).parent
    room = folder.parent
    seen: set[Path] = set()
    waiting = list(folder.glob("*.py"))
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                assert name.split(".")[0] not in {"grpc", "asyncio", "os", "time", "random", "yaml"}, (path, name)
                inside = room.joinpath(*name.split(".")[2:]) if name.startswith("orbit_core.spec") else None
                if inside is not None:
                    waiting += [
                        found for found in (inside.with_suffix(".py"), inside / "__init__.py") if found.exists()
                    ]
    assert room / "graph.py" in seen
