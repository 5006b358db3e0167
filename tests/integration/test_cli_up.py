"""`orbit up` and the README's path through it, as a person would walk it: real processes, one command after another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tui.demo.reports import damaged_pdf, make_reports, pdf_bytes

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ORBIT = [sys.executable, "-m", "tui.cli.main"]
START_S = 120.0


def eventually(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {seconds} s"
        time.sleep(0.05)


class Up:
    """`orbit up` in a child process, with a home of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.home = folder / "home"
        self.data = folder / "data"
        self.log = folder / "up.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ORBIT_")},
            "ORBIT_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*ORBIT, "up", "--data", str(self.data), *arguments], stdout=log, stderr=log, env=self.environment
            )
        eventually(lambda: "Ctrl-C" in self.said or self.process.poll() is not None, "orbit up", START_S)
        assert self.process.poll() is None, self.said
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def orbit(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ORBIT, *arguments], input=stdin, capture_output=True, text=True, env=self.environment, timeout=120
        )

    def child(self, text: str) -> psutil.Process:
        return next(each for each in self.children if text in " ".join(each.cmdline()))

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=60)

    def assert_gone(self) -> None:
        gone, alive = psutil.wait_procs(self.children, timeout=20)
        assert not alive, [each.cmdline() for each in alive]
        assert len(gone) >= 2, "etcd and a coordinator at least"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def up(*arguments: str) -> Up:
        started.append(Up(tmp_path, *arguments))
        return started[-1]

    yield up
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
        psutil.wait_procs(each.children, timeout=20)


def block(language: str) -> str:
    """The README's one block of that language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """The README's cluster file, its folder replaced by one that holds two reports and a damaged file."""
    papers = tmp_path / "papers"
    papers.mkdir()
    for report in make_reports(2):
        (papers / report.file_name).write_bytes(pdf_bytes(report))
    (papers / "broken.pdf").write_bytes(damaged_pdf())
    path = tmp_path / "texts.yml"
    path.write_text(block("yaml").replace("/home/me/papers", str(papers)))
    return path


def test_the_readme_path(start: Callable[..., Up], texts: Path, tmp_path: Path) -> None:
    """Five minutes: validate, submit, trigger, results, logs; then the program; then the mesh ends and starts again."""
    up = start("-n", "2", "--price", "0.1", "--price", "0.3", "--tariff", "00:00=0.2,12:00=0.2")
    agents = json.loads(up.orbit("agents", "--json").stdout)
    assert {(each["agent_id"], each["price_usd_per_hour"]) for each in agents} == {("agent-0", 0.2), ("agent-1", 0.3)}

    validated = up.orbit("validate", str(texts))
    assert (validated.returncode, "valid, cluster me/texts" in validated.stdout) == (0, True)
    assert up.orbit("submit", str(texts)).returncode == 0
    watched = up.orbit("trigger", "me/texts", "-w")
    assert watched.returncode == 1, "one of the three files is damaged"
    assert "partially-succeeded: 2 ok, 1 failed" in watched.stdout
    values = [json.loads(line)["text"] for line in up.orbit("results", "--values").stdout.splitlines()]
    assert sorted(values) == sorted(report.text for report in make_reports(2))
    failed = json.loads(up.orbit("results", "--failed", "--json").stdout)
    assert [each["failure"]["code"] for each in failed] == ["pdf-unreadable"]
    assert up.orbit("logs").returncode == 0

    program = tmp_path / "program.py"
    program.write_text(block("python"))
    assert len(program.read_text().splitlines()) <= 24
    said = subprocess.run(
        [sys.executable, str(program), str(texts)], capture_output=True, text=True, env=up.environment, timeout=120
    )
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert sum("agent-" in line for line in lines) == 2
    assert any(line.startswith("failed: ") for line in lines)
    assert lines[-1].startswith("partially-succeeded SLA met $0.")

    assert up.orbit("secrets", "set", "me/texts", "TOKEN", stdin="hunter2-planted\n").returncode == 0
    assert up.end() == 0
    up.assert_gone()
    assert up.orbit("runs").returncode == 5, "and nobody is waited for"
    again = start("-n", "1")
    assert len(json.loads(again.orbit("runs", "--json").stdout)) == 2
    assert again.orbit("secrets", "list", "-o", "name").stdout == "TOKEN\n"
    assert again.end(signal.SIGTERM) == 0
    again.assert_gone()
    kept = [path for path in up.data.rglob("*") if path.is_file() and b"hunter2-planted" in path.read_bytes()]
    assert not kept


def test_a_child_that_dies_is_told_and_a_killed_mesh_leaves_nobody(start: Callable[..., Up]) -> None:
    up = start("-n", "2", "--coordinators", "2")
    victim = up.child("--id agent-1")
    victim.kill()
    eventually(lambda: "agent-1 was killed by signal 9" in up.said, "the loss is told")
    assert up.orbit("agents").returncode == 0
    up.end(signal.SIGKILL)
    up.assert_gone()
    assert json.loads(up.orbit("context", "list", "--json").stdout) == [], "nobody is there to be found"


def test_a_mesh_without_etcd_ends_and_says_so(start: Callable[..., Up]) -> None:
    up = start("-n", "1")
    up.child("etcd").kill()
    assert up.process.wait(timeout=60) == 5
    assert "etcd ended" in up.said and "Traceback" not in up.said
    up.assert_gone()


def test_a_mesh_in_the_open_warns(start: Callable[..., Up]) -> None:
    up = start("-n", "0", "--listen", "0.0.0.0")
    assert "WARNING" in up.said and "without TLS" in up.said
    assert up.end() == 0
    up.assert_gone()
