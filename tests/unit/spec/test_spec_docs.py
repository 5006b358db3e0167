"""The pages about the format say what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from orbit_core.spec.loader import load
from orbit_core.spec.reference_page import page
from orbit_core.spec.schemas import parse_output_schema
from satellites.catalog import InstalledCatalog

FOLDER = Path(__file__).parents[3] / "docs" / "format"
GUIDE = (FOLDER / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_reference_is_that_of_the_models() -> None:
    written = (FOLDER / "reference.md").read_text()
    assert written == page(), "python -m orbit_core.spec.reference_page > docs/format/reference.md"


def test_no_key_is_without_a_meaning() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_each_file_of_the_guide_is_valid(text: str) -> None:
    result = load(text, catalog=InstalledCatalog())
    assert result.diagnostics == ()


def test_the_guide_shows_files() -> None:
    assert len(blocks("yaml")) == 5


def test_the_schema_of_the_guide_reads() -> None:
    (text,) = blocks("text")
    schema: Any = parse_output_schema(text)
    assert schema["required"] == ["company", "quarter", "revenue", "segments"]


def test_the_program_of_the_guide_runs() -> None:
    (program,) = blocks("python")
    exec(compile(program, "docs/format/README.md", "exec"), {})
