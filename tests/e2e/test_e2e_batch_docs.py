"""`docs/batch.md`, as a reader walks it: every block in order, in one folder, and what is shown after it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orbit_agent.models.sources import PACKAGED_ROOT
from tests.e2e.pages import Block, blocks, says

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "batch.md").read_text()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (PACKAGED_ROOT / "orbit-demo").is_dir(), reason="the demonstration model is not packaged"),
]


def carry_out(block: Block, folder: Path, environment: dict[str, str]) -> None:
    shell = ["bash", "-e", "-o", "pipefail", "-c"] if block.language == "sh" else [sys.executable, "-c"]
    said = subprocess.run(
        [*shell, block.code],
        cwd=folder,
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


async def test_the_page_about_batches(start_mesh, tmp_path):
    mesh = await start_mesh()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ORBIT_")},
        "ORBIT_HOME": str(tmp_path / "home"),
        "ORBIT_ADDRESS": ",".join(mesh.addresses),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    found = blocks(PAGE)
    assert sum(block.language == "sh" for block in found) >= 6
    assert sum(block.language == "python" for block in found) == 1
    for block in found:
        await asyncio.to_thread(carry_out, block, tmp_path, environment)
