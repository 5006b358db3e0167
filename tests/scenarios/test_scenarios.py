"""Every story under `stories/` goes as it is written. `ORBIT_UPDATE_STORIES=1` writes down how they go now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.story import render

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_goes_as_it_is_written(path: Path) -> None:
    written = path.read_text()
    now = render(written)
    if os.environ.get("ORBIT_UPDATE_STORIES"):
        path.write_text(now)
    assert "VIOLATION" not in now
    assert not [line for line in now.splitlines() if line.endswith(": False")], now
    assert now == written or os.environ.get("ORBIT_UPDATE_STORIES")


def test_there_are_many_stories() -> None:
    assert len(STORIES) >= 40
