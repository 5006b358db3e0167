"""`orbit demo` as a person sees it: the whole job, whatever is killed meanwhile, and nothing left behind."""

from __future__ import annotations

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

from orbit_agent.models.sources import PACKAGED_ROOT

pytest.importorskip("moto", reason="the demo extra is not installed")
pytest.importorskip("fpdf", reason="the demo extra is not installed")

pytestmark = pytest.mark.e2e
needs_model = pytest.mark.skipif(
    not (PACKAGED_ROOT / "orbit-demo").is_dir(), reason="the demonstration model is not packaged here"
)

ROOT = Path(__file__).parents[2]


def _command(process: psutil.Process) -> list[str]:
    """Its command line; none of one that has ended, whether or not somebody has waited for it."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Demo:
    """`orbit demo --plain` in a child process, its temporary files in a folder of their own."""

    def __init__(self, folder: Path, documents: int) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "demo.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORBIT_")}
        environment |= {"ORBIT_HOME": str(folder / "home"), "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tui.cli.main", "demo", "--plain", "--documents", str(documents)],
                stdout=log,
                stderr=log,
                env=environment,
            )
        self.children: set[psutil.Process] = set()

    @property
    def said(self) -> str:
        return self.log.read_text()

    def until(self, pattern: str, seconds: float = 180.0) -> None:
        """Wait until it has said so; remember what it started meanwhile."""
        deadline_s = time.monotonic() + seconds
        while not re.search(pattern, self.said):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline_s, self.said
            time.sleep(0.05)
        self.children |= set(psutil.Process(self.process.pid).children(recursive=True))

    def child(self, text: str) -> psutil.Process:
        return next(each for each in self.children if text in " ".join(_command(each)))

    def assert_nothing_left(self) -> None:
        _, alive = psutil.wait_procs(self.children, timeout=20)
        assert not alive, [each.cmdline() for each in alive]
        assert not list(self.temporary.iterdir())


@pytest.fixture
def perform(tmp_path: Path) -> Iterator[Callable[[int], Demo]]:
    started: list[Demo] = []

    def start(documents: int) -> Demo:
        started.append(Demo(tmp_path, documents))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        psutil.wait_procs(each.children, timeout=20)


def assert_as_expected(demo: Demo, documents: int) -> None:
    said = demo.said
    assert f"partially-succeeded: {documents - 1} ok, 1 failed" in said
    assert re.search(r"holds failed/damaged-in-transit\.pdf *$", said, re.MULTILINE)
    assert re.search(r"SLA +met", said)
    answers = re.search(r"(\d+) of (\d+) fields exactly as in the reports", said)
    assert answers is not None
    right, fields = map(int, answers.groups())
    assert fields == 10 * (documents - 1)
    assert right >= 0.8 * fields
    assert f"deliveries of {documents - 1} results" in said
    assert "orbit demo --keep" in said


@needs_model
def test_the_whole_job(perform: Callable[[int], Demo]) -> None:
    demo = perform(6)
    demo.until("parse-pdf")
    assert demo.process.wait(timeout=180) == 0, demo.said
    assert_as_expected(demo, 6)
    demo.assert_nothing_left()


@needs_model
def test_an_agent_and_the_coordinator_are_killed_meanwhile(perform: Callable[[int], Demo]) -> None:
    demo = perform(8)
    demo.until(r"parse-pdf [1-8]/8")
    demo.child("orbit_coordinator").kill()
    demo.child("--id spare-spot").kill()
    demo.until("starting another coordinator")
    assert demo.process.wait(timeout=240) == 0, demo.said
    assert "spare-spot was killed" in demo.said
    assert_as_expected(demo, 8)
    demo.assert_nothing_left()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(perform: Callable[[int], Demo], how: signal.Signals) -> None:
    demo = perform(4)
    demo.until("running .*get-files-from-s3 1/1")
    demo.process.send_signal(how)
    assert demo.process.wait(timeout=60) == 130, demo.said
    assert "Traceback" not in demo.said
    demo.assert_nothing_left()
