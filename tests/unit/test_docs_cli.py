"""The page about the commands says what they say."""

from __future__ import annotations

from tools.cli_page import PAGE, page
from tui.cli.main import COMMANDS


def test_the_page_is_that_of_the_commands() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tools.cli_page"


def test_every_command_has_a_section() -> None:
    written = page()
    assert not [name for name in COMMANDS if f"\n## `orbit {name}`\n" not in written]
    assert "\n### `orbit secrets rotate`\n" in written, "and those of groups too"
