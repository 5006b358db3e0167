"""`docs/tutorial.md`, as a new user walks it: every `sh` block in order, in one folder, and what is shown after it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orbit_agent.models.sources import PACKAGED_ROOT
from tests.e2e.pages import blocks, says

pytest.importorskip("fpdf", reason="the demo extra is not installed")

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (PACKAGED_ROOT / "orbit-demo").is_dir(), reason="the demonstration model is not packaged"),
]

START_S = 120.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ORBIT_")},
        "ORBIT_HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def mesh(tmp_path: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The page's one block that stays: `orbit up`, in a terminal of its own."""
    (up,) = [block.code for block in blocks(TUTORIAL) if block.code.startswith("orbit up")]
    log = tmp_path / "up.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            f"exec {up}", shell=True, cwd=tmp_path, env=environment, stdout=said, stderr=said, start_new_session=True
        )
    deadline_s = time.monotonic() + START_S
    while "Ctrl-C" not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.05)
    yield process
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0, log.read_text()


def test_the_tutorial(mesh: subprocess.Popen[bytes], tmp_path: Path, environment: dict[str, str]) -> None:
    walked = 0
    for block in blocks(TUTORIAL):
        if "make setup" in block.code or block.code.startswith("orbit up"):
            continue  # done before this test began, and by the fixture
        said = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", block.code],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
        )
        assert said.returncode == block.ends_with, f"{block.code}\n{said.stdout}"
        for line in block.shown:
            assert says(said.stdout, line), f"{block.code}\n{said.stdout}\nis said to hold: {line}"
        walked += 1
    assert walked > 15
    assert mesh.poll() is None
