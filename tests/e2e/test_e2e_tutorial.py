"""`docs/tutorial.md`, as a new user walks it: every `sh` block in order, in one folder, and what is shown after it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orbit_agent.models.sources import PACKAGED_ROOT

pytest.importorskip("fpdf", reason="the demo extra is not installed")

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (PACKAGED_ROOT / "orbit-demo").is_dir(), reason="the demonstration model is not packaged"),
]

_BLOCK = re.compile(r"(?:<!-- ends with (\d+) -->\n)?```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
START_S = 120.0


@dataclass
class Block:
    """Commands, what they end with, and the lines of what they say that the page shows."""

    commands: str
    ends_with: int
    shown: list[str]


def blocks() -> list[Block]:
    found: list[Block] = []
    for ends_with, language, text in _BLOCK.findall(TUTORIAL):
        if language == "sh":
            found.append(Block(text, int(ends_with or 0), []))
        else:
            found[-1].shown += text.splitlines()
    return found


def says(output: str, line: str) -> bool:
    """Whether a line of the page is in the output: columns may be wider there, and `…` stands for anything."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
    return re.search(pattern, "\n".join(" ".join(each.split()) for each in output.splitlines())) is not None


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
    (up,) = [block.commands for block in blocks() if block.commands.startswith("orbit up")]
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
    for block in blocks():
        if "make setup" in block.commands or block.commands.startswith("orbit up"):
            continue  # done before this test began, and by the fixture
        said = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", block.commands],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
        )
        assert said.returncode == block.ends_with, f"{block.commands}\n{said.stdout}"
        for line in block.shown:
            assert says(said.stdout, line), f"{block.commands}\n{said.stdout}\nis said to hold: {line}"
        walked += 1
    assert walked > 15
    assert mesh.poll() is None
