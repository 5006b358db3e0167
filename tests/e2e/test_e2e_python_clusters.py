"""The program of docs/python.md, as a user would run it: a cluster made of Python objects, submitted and run."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


async def test_the_program_of_the_page(start_mesh, tmp_path):
    program = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/python.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "program.py").write_text(program)
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, text in (("a.txt", "one"), ("b.txt", "two"), ("empty.txt", ""), ("c.pdf", "not wanted")):
        (texts / name).write_text(text)
    mesh = await start_mesh()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(tmp_path / "program.py"), str(texts)),
        env={**os.environ, "ORBIT_ADDRESS": ",".join(mesh.addresses), "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    (line,) = out.decode().splitlines()
    given = ast.literal_eval(line)
    assert given["run"].startswith("run-")
    assert [each.get("name", each.get("file-name")) for each in given["names"]] == ["a.txt", "b.txt", "empty.txt"]
    assert given["names"][0]["reason"] == "the guide says so"
    assert "reason" not in given["names"][2], "an empty file is skipped: its object goes on as it is"
