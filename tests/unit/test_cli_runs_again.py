"""Commands that begin anew, go on, forget, roll back, name and complete: what they ask for and what they say."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orbit_core.errors import PreconditionError
from orbit_core.pb.orbit.v1 import agents_pb2, clusters_pb2, common_pb2, runs_pb2
from tests.unit.conftest import Said
from tests.unit.fake_mesh import FakeCoordinator, FakeMesh
from tui.cli import listing
from tui.cli.main import run as run_command

NOW_MS = 1_700_000_000_000
Orbit = Callable[..., Said]


def ended(run_id: str = "run-old", state: int = runs_pb2.RUN_STATE_FAILED, **fields: object) -> runs_pb2.Run:
    return runs_pb2.Run(
        run_id=run_id,
        cluster="demo/reports",
        state=state,  # pyright: ignore[reportArgumentType]
        sla=runs_pb2.SLA_STATE_MET,
        created_ms=NOW_MS,
        deadline_ms=NOW_MS + 600_000,
        ended_ms=NOW_MS + 1_000,
        **fields,  # pyright: ignore[reportArgumentType]
    )


def test_retry_says_the_new_run(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.runs["run-old"] = ended()
    said = orbit("retry", "run-old", "--request-id", "x")
    assert (said.code, said.out) == (0, "run-2 started, a retry of run-old\n")
    assert "orbit status -w run-2" in said.err
    assert orbit("retry", "run-old", "--request-id", "x", "-o", "name").out == "run-2\n"
    assert orbit("retry", "run-old", "-o", "name").out == "run-3\n"
    assert orbit("retry", "run-none").code == 4


def test_retry_waits_for_the_end_and_says_what_was_taken_over(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.runs["run-old"] = ended()
    mesh.story["run-2"] = [ended("run-2", runs_pb2.RUN_STATE_SUCCEEDED, retry_of="run-old", reused=7)]
    said = orbit("retry", "run-old", "-w")
    assert said.code == 0
    assert "run-old, 7 results taken over" in said.out


def test_a_retry_that_is_refused_is_6_with_a_remedy(mesh: FakeMesh, coordinator: FakeCoordinator, orbit: Orbit) -> None:
    mesh.runs["run-old"] = ended()
    coordinator.stumble("RetryRun", PreconditionError("run-old succeeded", remedy="`orbit trigger demo/reports`"))
    said = orbit("retry", "run-old")
    assert (said.code, "what now: `orbit trigger demo/reports`" in said.err) == (6, True)


def test_resume_with_and_without_a_budget(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.runs["run-1"] = ended("run-1", runs_pb2.RUN_STATE_PAUSED, budget_usd=0.5, cost_usd=0.4)
    said = orbit("resume", "run-1", "--budget", "2.5")
    assert said.code == 0
    assert "$0.40 of at most $2.50" in said.out
    assert mesh.runs["run-1"].budget_usd == 2.5
    assert orbit("resume", "run-1", "-o", "json").json["budget_usd"] == 2.5
    assert orbit("resume", "run-1", "--budget", "0").code == 2
    assert orbit("resume", "run-1", "--budget", "much").code == 2


def test_a_watched_run_that_is_paused_says_how_it_goes_on(mesh: FakeMesh, orbit: Orbit) -> None:
    paused = ended("run-1", runs_pb2.RUN_STATE_PAUSED, reason="the next work would pass $0.50")
    mesh.runs["run-1"] = paused
    mesh.story["run-1"] = [paused, ended("run-1", runs_pb2.RUN_STATE_SUCCEEDED)]
    said = orbit("status", "-w", "run-1")
    assert said.code == 0
    assert said.err.count("the next work would pass $0.50; next: orbit resume run-1 --budget") == 1


def test_delete_tells_runs_from_clusters(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.runs["run-old"] = ended()
    mesh.clusters["demo/reports"] = clusters_pb2.Cluster(identifier="demo/reports")
    assert orbit("delete", "run-old", "-y").out == "run-old is deleted\n"
    assert not mesh.runs and mesh.clusters
    assert orbit("delete", "run-old", "-y").out == "run-old was not there\n"
    assert orbit("delete", "demo/reports", "-y").out == "demo/reports is deleted\n"
    assert not mesh.clusters


def test_delete_asks_at_a_terminal(mesh: FakeMesh, orbit: Orbit, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh.runs["run-old"] = ended()
    asked: list[str] = []

    def no(question: str, **how: object) -> None:
        asked.append(question)
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", no)
    assert orbit("delete", "run-old").code == 130
    assert asked == ["Forget run-old, its results and its logs?"]
    assert mesh.runs, "and nothing is lost"
    assert orbit("delete", "run-old", "-y").code == 0


def test_disable_and_enable(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.clusters["demo/reports"] = clusters_pb2.Cluster(identifier="demo/reports", enabled=True)
    assert "demo/reports (disabled)" in orbit("disable", "demo/reports").out
    assert not mesh.clusters["demo/reports"].enabled
    assert "disabled" not in orbit("enable", "demo/reports").out
    assert orbit("disable", "demo/none").code == 4


def test_versions_and_rollback(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.clusters["demo/reports"] = clusters_pb2.Cluster(identifier="demo/reports", enabled=True)
    first, second, third = ("a" * 64, "b" * 64, "c" * 64)
    mesh.versions["demo/reports"] = [third, second, first]
    assert [line.split()[0] for line in orbit("versions", "demo/reports").out.splitlines()[1:]] == [
        "c" * 12,
        "b" * 12,
        "a" * 12,
    ]
    assert orbit("versions", "demo/reports", "-o", "name").out.splitlines() == [third, second, first]
    said = orbit("rollback", "demo/reports")
    assert (said.code, "bbbbbbbbbbbb now" in said.err) == (0, True)
    assert mesh.versions["demo/reports"] == [second, third, first]
    orbit("rollback", "demo/reports", "aaa")
    assert mesh.clusters["demo/reports"].spec_hash == first
    mesh.versions["demo/reports"] = [first]
    said = orbit("rollback", "demo/reports")
    assert (said.code, "no version before this one" in said.err) == (6, True)


def test_runs_are_filtered_by_the_mesh(mesh: FakeMesh, orbit: Orbit) -> None:
    mesh.runs["run-1"] = ended("run-1")
    late = ended("run-2")
    late.created_ms += 86_400_000
    late.sla = runs_pb2.SLA_STATE_MISSED
    mesh.runs["run-2"] = late

    def names(*arguments: str) -> list[str]:
        return orbit("runs", "-o", "name", *arguments).out.split()

    assert names() == ["run-2", "run-1"]
    assert names("--sla", "missed") == ["run-2"]
    assert names("--since", "2023-11-15T00:00Z") == ["run-2"]
    assert names("--before", "2023-11-15T00:00Z") == ["run-1"]
    assert names("--since", "1h") == []
    assert names("--project", "other") == []
    assert names("--project", "demo", "-n", "1") == ["run-2"]
    said = orbit("runs", "--since", "yesterday")
    assert (said.code, "write it like 90m" in said.err) == (2, True)


def test_a_watched_listing_says_what_has_changed(mesh: FakeMesh, orbit: Orbit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends after some looks, as Ctrl-C would end it; between two of them an agent comes."""
    looks: list[int] = []

    async def look(seconds: float) -> None:
        looks.append(1)
        if len(looks) == 2:
            mesh.agents["a2"] = agents_pb2.Agent(advertisement=agents_pb2.Advertisement(agent_id="a2"))
        if len(looks) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(listing.asyncio, "sleep", look)
    mesh.agents["a1"] = agents_pb2.Agent(advertisement=agents_pb2.Advertisement(agent_id="a1"))
    said = orbit("agents", "--watch", "-o", "json")
    assert said.code == 130
    assert [[each["agent_id"] for each in json.loads(line)] for line in said.out.splitlines()] == [["a1"], ["a1", "a2"]]


def test_results_are_downloaded_and_never_overwritten_unasked(
    mesh: FakeMesh, coordinator: FakeCoordinator, orbit: Orbit, tmp_path: Path
) -> None:
    contents = {"a.pdf": b"first report", "../b.pdf": b"second report"}
    mesh.files = {hashlib.sha256(content).hexdigest(): content for content in contents.values()}
    for number, (name, content) in enumerate(contents.items()):
        file = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "name": name}
        mesh.results.append(
            runs_pb2.Result(
                invocation_id=f"i{number}", json=json.dumps({"n": number, "file": {"$file": file}}).encode()
            )
        )
    mesh.results.append(runs_pb2.Result(invocation_id="i9", failure=common_pb2.Failure(code="pdf", message="no PDF")))
    mesh.runs["run-1"] = ended("run-1")
    coordinator.break_after("DownloadFile", 1)  # the leader dies within the first file
    folder = tmp_path / "kept"
    said = orbit("results", "--download", str(folder))
    assert said.code == 0, said.err
    assert "objects.jsonl: 2 objects" in said.out and "files: 2 files" in said.out
    assert [json.loads(line)["n"] for line in (folder / "objects.jsonl").read_text().splitlines()] == [0, 1]
    assert json.loads((folder / "failures.jsonl").read_text())["failure"]["code"] == "pdf"
    assert {path.name: path.read_bytes() for path in (folder / "files").iterdir()} == {
        "a.pdf": b"first report",
        "b.pdf": b"second report",
    }
    again = orbit("results", "--download", str(folder))
    assert (again.code, "is there already" in again.err) == (6, True)
    (folder / "objects.jsonl").unlink()
    (folder / "failures.jsonl").unlink()
    (folder / "files" / "a.pdf").write_bytes(b"mine")
    refused = orbit("results", "--download", str(folder))
    assert (refused.code, "a.pdf is there already" in refused.err) == (6, True)
    assert (folder / "files" / "a.pdf").read_bytes() == b"mine"
    assert not (folder / "objects.jsonl").exists(), "it says that the rest is there"
    assert orbit("results", "--download", str(folder), "--overwrite").code == 0
    assert (folder / "files" / "a.pdf").read_bytes() == b"first report"


def test_a_folder_that_cannot_be_written_is_said(mesh: FakeMesh, orbit: Orbit, tmp_path: Path) -> None:
    content = b"content"
    sha256 = hashlib.sha256(content).hexdigest()
    mesh.files = {sha256: content}
    value = {"$file": {"sha256": sha256, "size": 7, "name": "a.pdf"}}
    mesh.results = [runs_pb2.Result(invocation_id="i0", json=json.dumps({"file": value}).encode())]
    mesh.runs["run-1"] = ended("run-1")
    (tmp_path / "files").write_text("where a folder has to be")
    for folder in (tmp_path, tmp_path / "files" / "deeper"):
        said = orbit("results", "--download", str(folder))
        assert (said.code, "cannot be written" in said.err, "Traceback" in said.err) == (6, True, False)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["files"], "nothing half done"


def test_a_damaged_file_is_not_kept(mesh: FakeMesh, orbit: Orbit, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"what it was").hexdigest()
    mesh.files = {sha256: b"what it is not"}
    file = {"$file": {"sha256": sha256, "size": 11, "name": "a.pdf"}}
    mesh.results = [runs_pb2.Result(invocation_id="i0", json=json.dumps({"deep": [file]}).encode())]
    mesh.runs["run-1"] = ended("run-1")
    said = orbit("results", "--download", str(tmp_path))
    assert (said.code, "came damaged" in said.err) == (6, True)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name == "files"] == []


def test_secrets_rotate(orbit: Orbit) -> None:
    said = orbit("secrets", "rotate", "demo")
    assert (said.code, "key-of-demo" in said.out) == (0, True)


def test_contexts(orbit: Orbit, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORBIT_ADDRESS")
    assert "orbit context set" in orbit("context", "list").out
    assert orbit("context", "set", "here", coordinator.address).code == 0
    assert orbit("agents").code == 0
    assert orbit("context", "set", "there", "127.0.0.1:1,127.0.0.1:2").code == 0
    assert orbit("agents", "--timeout", "0.2").code == 5
    assert orbit("context", "list", "-o", "name").out.split() == ["here", "there"]
    assert [each["current"] for each in orbit("context", "list", "--json").json] == [False, True]
    monkeypatch.setenv("ORBIT_CONTEXT", "here")
    assert orbit("agents").code == 0, "for one command"
    monkeypatch.setenv("ORBIT_CONTEXT", "nowhere")
    said = orbit("agents")
    assert (said.code, "orbit context list" in said.err) == (4, True)
    monkeypatch.delenv("ORBIT_CONTEXT")
    assert orbit("context", "use", "here").code == 0
    assert orbit("agents").code == 0
    assert orbit("context", "use", "nowhere").code == 4
    assert orbit("context", "set", "Not A Name", "127.0.0.1:1").code == 2
    assert orbit("context", "set", "bad", "nowhere").code == 2
    assert "is forgotten" in orbit("context", "delete", "here").out
    assert "was not there" in orbit("context", "delete", "here").out
    assert orbit("context", "list", "-o", "name").out.split() == ["there"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_that_shell(orbit: Orbit, shell: str) -> None:
    said = orbit("completion", shell)
    assert said.code == 0
    assert "_ORBIT_COMPLETE" in said.out
    assert orbit("completion", "tcsh").code == 2


def test_the_bash_script_is_bash(orbit: Orbit) -> None:
    checked = subprocess.run(["bash", "-n"], input=orbit("completion", "bash").out, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_tab_offers_commands_and_names_of_the_mesh(
    mesh: FakeMesh, coordinator: FakeCoordinator, orbit: Orbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.runs["run-old"] = ended()
    mesh.clusters["demo/reports"] = clusters_pb2.Cluster(identifier="demo/reports")

    def offers(line: str) -> list[str]:
        monkeypatch.setenv("_ORBIT_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        said = orbit()
        monkeypatch.delenv("_ORBIT_COMPLETE")
        assert said.code == 0 and "Traceback" not in said.err
        return [each.partition(",")[2] for each in said.out.splitlines() if each]

    assert offers("orbit ret") == ["retry"]
    assert "--budget" in offers("orbit resume --b")
    assert offers("orbit retry ru") == ["run-old"]
    assert offers("orbit delete ") == ["demo/reports", "run-old"]
    assert offers("orbit results --download") == ["--download"]
    coordinator.stop()
    assert offers("orbit retry ru") == [], "nobody answers: nothing is offered, and nothing is said"
    assert run_command(["--help"]) == 0
