"""Commands against coordinators with canned state: what they print, what they end with, what they never show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orbit_core.errors import LimitError, MeshUnreachableError, SecretError
from orbit_core.pb.orbit.v1 import agents_pb2, clusters_pb2, common_pb2, runs_pb2
from tests.unit.conftest import Said
from tests.unit.fake_mesh import FakeCoordinator, FakeMesh
from tui.cli.main import COMMANDS

NOW_MS = 1_700_000_000_000


@pytest.fixture
def cluster_file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yml"
    path.write_text("version: 0.0.1b\n")
    return path


def make_run(state: int = runs_pb2.RUN_STATE_RUNNING, **fields: Any) -> runs_pb2.Run:
    return runs_pb2.Run(
        run_id="run-1",
        cluster="demo/reports",
        state=state,  # pyright: ignore[reportArgumentType]
        sla=runs_pb2.SLA_STATE_MET if fields.get("ended_ms") else runs_pb2.SLA_STATE_PENDING,
        created_ms=NOW_MS,
        deadline_ms=NOW_MS + 600_000,
        trigger="api-call",
        cost_usd=0.0421,
        steps=[
            runs_pb2.StepProgress(step="list", section="main", expected=1, succeeded=1),
            runs_pb2.StepProgress(step="parse", section="main", expected=24, succeeded=11, failed=1, running=3),
            runs_pb2.StepProgress(step="alert", section="failure"),
        ],
        **fields,
    )


ENDED: dict[str, Any] = {"ended_ms": NOW_MS + 45_000, "lineages_succeeded": 23, "lineages_failed": 1, "attempts": 30}


def test_help_names_every_command_and_each_has_its_own(orbit: Callable[..., Said]) -> None:
    page = orbit("--help")
    assert page.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in page.out
        assert orbit(name, "--help").code == 0, name


@pytest.mark.parametrize("arguments", [["unknown"], ["runs", "--nope"], ["trigger"], ["runs", "--state", "done"]])
def test_a_wrong_command_line_is_2(orbit: Callable[..., Said], arguments: list[str]) -> None:
    assert orbit(*arguments).code == 2


def test_nobody_there_is_5_with_a_remedy_and_no_traceback(
    coordinator: FakeCoordinator, orbit: Callable[..., Said]
) -> None:
    coordinator.stop()
    said = orbit("runs", "--timeout", "0.3")
    assert said.code == 5
    assert "no coordinator" in said.err and "orbit up" in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_no_mesh_named_anywhere_is_5(orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORBIT_ADDRESS")
    said = orbit("agents")
    assert said.code == 5
    assert "`orbit up`" in said.err


def test_an_unknown_run_is_4(orbit: Callable[..., Said]) -> None:
    said = orbit("status", "run-none")
    assert (said.code, "`orbit runs` lists them" in said.err) == (4, True)
    assert orbit("status").code == 4, "no run at all"


def test_a_refusal_is_6_and_a_bug_is_70(
    coordinator: FakeCoordinator, orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.stumble("TriggerRun", LimitError("too many runs"), SecretError("TOKEN is missing", remedy="set it"))
    assert orbit("trigger", "demo/reports").code == 6
    said = orbit("trigger", "demo/reports")
    assert (said.code, "what now: set it" in said.err) == (6, True)
    monkeypatch.setattr("tui.cli.tables.runs", lambda now_ms: 1 / 0)
    said = orbit("runs")
    assert said.code == 70
    assert "ORBIT_DEBUG" in said.err and "Traceback" not in said.err
    monkeypatch.setenv("ORBIT_DEBUG", "1")
    assert "Traceback" in orbit("runs").err


def test_ctrl_c_is_130(orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(now_ms: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tui.cli.tables.runs", interrupt)
    said = orbit("runs")
    assert (said.code, "Traceback" in said.err) == (130, False)


def test_submit_says_what_is_stored_and_what_is_next(orbit: Callable[..., Said], cluster_file: Path) -> None:
    said = orbit("submit", str(cluster_file))
    assert said.code == 0
    assert "demo/reports stored: 2 steps, SLA 10:00, api-call" in said.out
    assert "orbit trigger demo/reports" in said.err
    assert orbit("submit", str(cluster_file), "-o", "name").out == "demo/reports\n"
    assert orbit("submit", "-", "--json", stdin="version: 0.0.1b\n").json["cluster"]["sla_ms"] == 600_000


def test_an_invalid_file_is_3_with_a_line_for_each_problem(
    mesh: FakeMesh, orbit: Callable[..., Said], cluster_file: Path
) -> None:
    lines = [f"cluster.yml:{n}:3: error: cluster.x{n}: unknown key" for n in (2, 9)]
    mesh.diagnostics = [
        clusters_pb2.Diagnostic(severity=clusters_pb2.SEVERITY_ERROR, path=f"x{n}", text=text)
        for n, text in enumerate(lines)
    ]
    said = orbit("submit", str(cluster_file))
    assert said.code == 3
    assert said.err.splitlines()[:2] == lines
    said = orbit("validate", str(cluster_file))
    assert said.code == 3
    assert said.out.splitlines() == [*lines, f"{cluster_file}: 2 errors"]


def test_a_missing_file_is_2(orbit: Callable[..., Said]) -> None:
    for command in ("submit", "validate"):
        said = orbit(command, "no-such-file.yml")
        assert (said.code, "cannot be read" in said.err) == (2, True)


def test_validate_needs_no_mesh(orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORBIT_ADDRESS")
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(
        "version: 0.0.1b\ncluster:\n  identifier: demo/a\n  sla: 2h\n  trigger: {api-call: true}\n"
        "  satellites:\n    - {uses: satellite/orbit/echo, identifier: first}\n"
    )
    bad.write_text(good.read_text().replace("orbit/echo", "orbit/ecko").replace("sla: 2h", "slaa: 2h"))
    assert orbit("validate", str(good)).out == f"{good}: valid, cluster demo/a\n"
    said = orbit("validate", str(good), str(bad))
    assert said.code == 3
    assert f"{bad}:4:3: error: cluster.slaa: " in said.out
    assert "did you mean satellite/orbit/echo?" in said.out
    (first, second) = orbit("validate", str(good), str(bad), "--json").json
    assert (first["identifier"], first["diagnostics"]) == ("demo/a", [])
    assert {"severity", "code", "line", "column", "path", "message", "expected"} <= set(second["diagnostics"][0])


def test_trigger(orbit: Callable[..., Said], tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text('{"day": 1}')
    assert "run-1 started, SLA 10:00" in orbit("trigger", "demo/reports").out
    assert orbit("trigger", "demo/reports", "-p", f"@{payload}", "-o", "name").out == "run-2\n"
    assert orbit("trigger", "demo/reports", "-p", "-", "-o", "name", stdin='{"a": 1}').out == "run-3\n"
    same = [orbit("trigger", "demo/reports", "--request-id", "x", "-o", "name").out for _ in range(2)]
    assert same[0] == same[1]
    for bad in ("{", "[1]", "@no-such-file"):
        assert orbit("trigger", "demo/reports", "-p", bad).code == 2


def test_runs_in_each_form(mesh: FakeMesh, orbit: Callable[..., Said]) -> None:
    assert "orbit trigger" in orbit("runs").out
    mesh.runs["run-1"] = make_run(runs_pb2.RUN_STATE_PARTIALLY_SUCCEEDED, **ENDED)
    table = orbit("runs").out
    for text in ("run-1", "demo/reports", "partially-succeeded", "met", "23 ok, 1 failed", "$0.042", "45 s"):
        assert text in table
    assert orbit("runs", "-o", "name").out == "run-1\n"
    (run_json,) = orbit("runs", "--json").json
    assert yaml.safe_load(orbit("runs", "-o", "yaml").out) == [run_json]
    assert {
        *("run_id", "cluster", "state", "sla", "created_ms", "deadline_ms", "ended_ms", "trigger", "cost_usd"),
        *("usage", "lineages_succeeded", "lineages_failed", "steps", "attempts", "attempts_lost", "reason"),
        *("retry_of", "spec_hash", "expected_late", "reused", "budget_usd"),
    } == set(run_json)
    assert orbit("runs", "--state", "failed", "-o", "name").out == ""


def test_status_shows_steps_and_cost(mesh: FakeMesh, orbit: Callable[..., Said]) -> None:
    mesh.runs["run-1"] = make_run()
    said = orbit("status")
    assert said.code == 0
    for text in ("12/24", "1 failed", "3 running", "$0.042"):
        assert text in said.out
    assert "alert" not in said.out, "a failure step that had nothing to do"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (runs_pb2.RUN_STATE_SUCCEEDED, 0),
        (runs_pb2.RUN_STATE_PARTIALLY_SUCCEEDED, 1),
        (runs_pb2.RUN_STATE_FAILED, 1),
        (runs_pb2.RUN_STATE_CANCELLED, 1),
    ],
)
def test_watching_ends_with_how_the_run_ended(
    mesh: FakeMesh, orbit: Callable[..., Said], state: int, code: int
) -> None:
    mesh.runs["run-1"] = make_run(state, **ENDED)
    mesh.story["run-1"] = [make_run(), mesh.runs["run-1"]]
    said = orbit("status", "-w", "run-1")
    assert said.code == code
    assert "running $0.042: list 1/1, parse 12/24 (1 failed)" in said.err
    assert "23 ok, 1 failed" in said.out
    assert orbit("status", "-w", "--json").json["run_id"] == "run-1"


def test_a_pause_is_said_and_not_an_error(
    mesh: FakeMesh, coordinator: FakeCoordinator, orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream breaks, and for a while nobody leads."""
    mesh.runs["run-1"] = make_run(runs_pb2.RUN_STATE_SUCCEEDED, **ENDED)
    mesh.story["run-1"] = [make_run(), mesh.runs["run-1"]]
    monkeypatch.setattr("tui.cli.session._SILENCE_S", 0.05)
    coordinator.break_after("WatchRun", 1, then=[MeshUnreachableError("nobody leads")] * 3)
    said = orbit("status", "-w", "run-1")
    assert said.code == 0
    assert said.err.count("waiting for the mesh") == 1


def test_cancel(mesh: FakeMesh, orbit: Callable[..., Said]) -> None:
    mesh.runs["run-1"] = make_run()
    said = orbit("cancel", "run-1", "--reason", "wrong day")
    assert said.code == 0
    assert "cancelled" in said.out and "wrong day" in said.out


def test_results_in_each_form(mesh: FakeMesh, orbit: Callable[..., Said]) -> None:
    mesh.runs["run-1"] = make_run(runs_pb2.RUN_STATE_PARTIALLY_SUCCEEDED, **ENDED)
    mesh.results = [
        runs_pb2.Result(invocation_id="i0", step="post", json='{"company": "[bold]Müller"}'.encode(), attempts=2),
        runs_pb2.Result(invocation_id="i1", step="parse", failure=common_pb2.Failure(code="pdf", message="no PDF")),
    ]
    said = orbit("results")
    assert '{"company": "[bold]Müller"}' in said.out, "text that looks like markup is text"
    assert "pdf: no PDF" in said.out
    assert "1 result, 1 failed" in said.err
    assert [each["invocation_id"] for each in orbit("results", "--json").json] == ["i0", "i1"]
    lines = orbit("results", "-f", "--json").out.splitlines()
    assert [json.loads(line)["invocation_id"] for line in lines] == ["i0", "i1"]
    assert orbit("results", "--values").out == '{"company": "[bold]Müller"}\n'
    assert orbit("results", "--failed", "-o", "name").out == "i1\n"


def test_logs(mesh: FakeMesh, orbit: Callable[..., Said]) -> None:
    mesh.runs["run-1"] = make_run()
    mesh.logs = [common_pb2.LogRecord(time_ms=NOW_MS, level="error", message="it [broke]", step="parse", agent_id="a1")]
    assert orbit("logs").out.rstrip().endswith(".000 error   parse a1 it [broke]")
    assert json.loads(orbit("logs", "run-1", "--json").out)["message"] == "it [broke]"


def test_agents(mesh: FakeMesh, orbit: Callable[..., Said]) -> None:
    mesh.agents["a1"] = agents_pb2.Agent(
        advertisement=agents_pb2.Advertisement(
            agent_id="a1",
            price_usd_per_hour=0.12,
            price_kind=agents_pb2.PRICE_KIND_SPOT,
            hardware=agents_pb2.Hardware(cpu_milli=2500, memory_bytes=4 * 2**30),
        ),
        state=agents_pb2.AGENT_STATE_ATTACHED,
        running=[agents_pb2.RunningInvocation(step="parse"), agents_pb2.RunningInvocation(step="parse")],
        used=common_pb2.Resources(cpu_milli=1000, memory_bytes=2**30),
    )
    table = orbit("agents").out
    for text in ("a1", "attached", "$0.12", "spot", "1/2.5", "1 GiB/4 GiB", "none", "2 (parse)"):
        assert text in table
    assert orbit("agents", "--json").json[0]["hardware"]["cpu_milli"] == 2500
    assert "draining" in orbit("drain", "a1").out
    assert orbit("drain", "a2").code == 4


def test_secrets_come_from_standard_input_and_are_never_shown(
    mesh: FakeMesh, orbit: Callable[..., Said], tmp_path: Path
) -> None:
    said = orbit("secrets", "set", "demo/reports", "TOKEN", stdin="hunter2\n")
    assert (said.code, mesh.secrets["demo/reports", "TOKEN"]) == (0, "hunter2")
    file = tmp_path / "key.pem"
    file.write_bytes(b"line one\nline two\n")
    assert orbit("secrets", "set", "demo/reports", "KEY", "--from-file", str(file)).code == 0
    assert mesh.secrets["demo/reports", "KEY"] == "line one\nline two"
    shown = said.out + said.err + orbit("secrets", "list").out + orbit("secrets", "list", "--json").out
    assert "hunter2" not in shown and "TOKEN" in shown
    assert orbit("secrets", "list", "demo/other", "-o", "name").out == ""
    assert orbit("secrets", "set", "demo/reports", "TOKEN", "hunter2").code == 2, "not on the command line"
    assert orbit("secrets", "set", "demo/reports", "TOKEN", stdin="").code == 2
    assert "is deleted" in orbit("secrets", "delete", "demo/reports", "TOKEN").out
    assert "was not there" in orbit("secrets", "delete", "demo/reports", "TOKEN").out


def test_clusters(mesh: FakeMesh, orbit: Callable[..., Said], cluster_file: Path) -> None:
    assert "orbit submit" in orbit("clusters").out
    orbit("submit", str(cluster_file))
    assert "demo/reports" in orbit("clusters", "demo").out
    assert "version: 0.0.1b" in orbit("clusters", "demo/reports").out
    assert orbit("clusters", "demo/none").code == 4


def test_version_with_and_without_a_mesh(
    orbit: Callable[..., Said], coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "led by c0" in orbit("version").out
    monkeypatch.delenv("ORBIT_ADDRESS")
    said = orbit("version", "--json")
    assert (said.code, said.json["mesh"]) == (0, None)
    assert "no mesh" in said.err


def test_an_etcd_of_ones_own_wants_a_place_for_the_rest(
    orbit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its secrets would be sealed under a key that goes with the temporary directory."""
    monkeypatch.setenv("ORBIT_ETCD_ENDPOINTS", "127.0.0.1:1")
    said = orbit("up")
    assert (said.code, "--data" in said.err) == (6, True)


@pytest.mark.parametrize("listen", ["host:port", ":7070", "127.0.0.1:70000"])
def test_up_refuses_what_is_not_where_one_can_listen(orbit: Callable[..., Said], listen: str) -> None:
    assert orbit("up", "--listen", listen).code == 2


@pytest.mark.parametrize(
    "tariffs", [["25:00=0.04"], ["06:00=cheap"], ["06:00=0.4,22:00"], ["06:00=-1"], ["06:00=0.4", "06:00=0.4"], [""]]
)
def test_up_refuses_what_is_no_tariff_and_more_of_them_than_agents(
    orbit: Callable[..., Said], tariffs: list[str]
) -> None:
    said = orbit("up", *(word for tariff in tariffs for word in ("--tariff", tariff)))
    assert (said.code, "--tariff" in said.err) == (2, True)
