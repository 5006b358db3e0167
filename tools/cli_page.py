"""Writes `docs/cli.md`: every command of `orbit` as its own help says it. `--check` says whether the page is fresh."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tui.cli.main import orbit

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
_WIDTHS: Any = {"max_content_width": 100, "terminal_width": 100}
_HEAD = """\
# The `orbit` command

Generated from the commands themselves: `python -m tools.cli_page`. [The tutorial](tutorial.md) shows them at work.

Commands that talk to a mesh find it by `--address`, else `ORBIT_ADDRESS`, else the context that `ORBIT_CONTEXT` names,
else the current context (`orbit context`), which `orbit up` sets. A change of leader is a pause, not an error.
`-o table|json|yaml|name` says how a listing is written; `--json` is short for `-o json`, whose keys are kept from
version to version.
"""


def page() -> str:
    """The whole page."""
    root = click.Context(orbit, info_name="orbit", **{**orbit.context_settings, **_WIDTHS})
    return "\n".join([_HEAD, *_sections(orbit, root)])


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    level = 2 if context.parent is None or context.parent.parent is None else 3
    yield f"{'#' * level} `{context.command_path}`\n\n```text\n{_help(command, context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from _sections(found, click.Context(found, info_name=name, parent=context, **_WIDTHS))


def _help(command: click.Command, context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page is another")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/cli.md is not what the commands say: python -m tools.cli_page")


if __name__ == "__main__":
    main()
