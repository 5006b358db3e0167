"""The page about the built-in satellites says what is so."""

from __future__ import annotations

from pathlib import Path

from satellites.builtin import SATELLITES
from satellites.reference_page import page

FILE = Path(__file__).parents[3] / "docs" / "format" / "satellites.md"


def test_the_reference_is_that_of_the_satellites() -> None:
    assert FILE.read_text() == page(), "python -m satellites.reference_page > docs/format/satellites.md"


def test_every_satellite_and_every_alias_is_on_it() -> None:
    text = page()
    assert len(SATELLITES) > 20
    for found in SATELLITES:
        assert found.summary
        for name in (found.name, *found.aliases):
            assert f"`{name}`" in text


def test_what_satellites_over_models_take_is_explained() -> None:
    text = page()
    for name in ("embed", "classify", "rerank", "ocr", "generate"):
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert len(rows) > 2
        assert not [row for row in rows if row.endswith("|  |")]
