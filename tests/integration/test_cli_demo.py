"""`orbit demo` as a person sees it: the whole job, whatever is killed meanwhile, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from orbit_agent.models.sources import PACKAGED_ROOT
from tests.integration.model_hub import REPOSITORY, serve

pytest.importorskip("moto", reason="the demo extra is not installed")
pytest.importorskip("fpdf", reason="the demo extra is not installed")

pytestmark = pytest.mark.e2e
needs_model = pytest.mark.skipif(
    not (PACKAGED_ROOT / "orbit-demo").is_dir(), reason="the demonstration model is not packaged here"
)

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "tui.cli.main", "demo", "--plain")


def _command(process: psutil.Process) -> list[str]:
    """Its command line; none of one that has ended, whether or not somebody has waited for it."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


class Demo:
    """`orbit demo --plain` in a child process, its temporary files in a folder of their own."""

    def __init__(self, folder: Path, documents: int, hub: str = "", model: str = "orbit-demo") -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "demo.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORBIT_")}
        environment |= {"ORBIT_HOME": str(folder / "home"), "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)}
        environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"} if hub else {}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*DEMO, "--documents", str(documents), "--model", model],
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
def perform(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(documents: int, **settings: str) -> Demo:
        started.append(Demo(tmp_path, documents, **settings))
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
def test_the_whole_job(perform: Callable[..., Demo]) -> None:
    demo = perform(6)
    demo.until("parse-pdf")
    assert demo.process.wait(timeout=180) == 0, demo.said
    assert_as_expected(demo, 6)
    demo.assert_nothing_left()


@needs_model
def test_an_agent_and_the_coordinator_are_killed_meanwhile(perform: Callable[..., Demo]) -> None:
    demo = perform(8)
    demo.until(r"parse-pdf [1-8]/8")
    demo.child("orbit_coordinator").kill()
    demo.child("--id spare-spot").kill()
    demo.until("starting another coordinator")
    assert demo.process.wait(timeout=240) == 0, demo.said
    assert "spare-spot was killed" in demo.said
    assert_as_expected(demo, 8)
    demo.assert_nothing_left()


@needs_model
def test_the_whole_job_with_a_model_from_a_repository(perform: Callable[..., Demo]) -> None:
    """The hub is a stand-in on loopback, and holds what ships with Orbit as if somebody else had published it."""
    with serve() as hub:
        commit = hub.push({path.name: path.read_bytes() for path in (PACKAGED_ROOT / "orbit-demo").iterdir()})
        demo = perform(3, hub=hub.url, model=REPOSITORY)
        assert demo.process.wait(timeout=180) == 0, demo.said
    assert f"✓ hf:{REPOSITORY} fetched as demo-model" in demo.said
    assert_as_expected(demo, 3)
    fetched = {path.rpartition("/")[2] for path in hub.asked if f"/resolve/{commit}/" in path}
    assert {"model.onnx", "tokenizer.json", "genai_config.json"} <= fetched


def test_without_a_way_to_the_repository_it_says_so_and_ends(perform: Callable[..., Demo]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        hub = f"http://127.0.0.1:{taken.getsockname()[1]}"
        demo = perform(2, hub=hub, model=REPOSITORY)
        assert demo.process.wait(timeout=120) == 6, demo.said
    error, what_now = demo.said.splitlines()[-2:]
    assert error.startswith(f"error: hf:{REPOSITORY} cannot be used: ")
    assert f"{hub} cannot be reached from this agent" in error and "without --model" in what_now
    assert "fetched as" not in demo.said and "Traceback" not in demo.said
    assert not list(demo.temporary.iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(perform: Callable[..., Demo], how: signal.Signals) -> None:
    demo = perform(4)
    demo.until("running .*get-files-from-s3 1/1")
    demo.process.send_signal(how)
    assert demo.process.wait(timeout=60) == 130, demo.said
    assert "Traceback" not in demo.said
    demo.assert_nothing_left()
