"""docs/python.md says what is so. Its program against a mesh is run by tests/e2e/test_e2e_python_clusters.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orbit_core.spec.build import Cluster

PAGE = Path(__file__).parents[3] / "docs" / "python.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
#: Each program after the first, with what the page says that it prints.
SHOWN = [(BLOCKS[at][1], BLOCKS[at + 1][1]) for at in range(1, len(BLOCKS), 2)]


def test_the_page_shows_programs_with_what_they_print() -> None:
    assert [language for language, _ in BLOCKS] == ["python", "python", "text", "python", "yaml"]


@pytest.mark.parametrize(("program", "printed"), SHOWN, ids=["problems", "yaml"])
def test_programs_print_what_the_page_says(program: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(program, str(PAGE), "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_file_of_the_page_reads_as_objects() -> None:
    assert Cluster.from_yaml(SHOWN[1][1]).identifier == "me/texts"
