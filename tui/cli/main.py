"""`orbit`: finds the command and runs it; every error becomes a message with a remedy and an exit code.

Commands are imported when they are used, so that `orbit --help` is quick. No command lives here.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

#: Each command, in the order of the help page, with the module and the name of its function.
COMMANDS: Final[dict[str, str]] = {
    "up": "tui.cli.commands.up:up",
    "demo": "tui.cli.commands.demo:demo",
    "tui": "tui.cli.commands.tui:tui",
    "validate": "tui.cli.commands.files:validate",
    "submit": "tui.cli.commands.files:submit",
    "quote": "tui.cli.commands.scheduling:quote",
    "clusters": "tui.cli.commands.clusters:clusters",
    "enable": "tui.cli.commands.clusters:enable",
    "disable": "tui.cli.commands.clusters:disable",
    "versions": "tui.cli.commands.clusters:versions",
    "rollback": "tui.cli.commands.clusters:rollback",
    "trigger": "tui.cli.commands.runs:trigger",
    "runs": "tui.cli.commands.runs:runs",
    "status": "tui.cli.commands.runs:status",
    "results": "tui.cli.commands.reading:results",
    "logs": "tui.cli.commands.reading:logs",
    "explain": "tui.cli.commands.scheduling:explain",
    "cost": "tui.cli.commands.scheduling:cost",
    "retry": "tui.cli.commands.runs:retry",
    "resume": "tui.cli.commands.runs:resume",
    "cancel": "tui.cli.commands.runs:cancel",
    "delete": "tui.cli.commands.deleting:delete",
    "batch": "tui.cli.commands.batch:batch",
    "agents": "tui.cli.commands.agents:agents",
    "drain": "tui.cli.commands.agents:drain",
    "models": "tui.cli.commands.models:models",
    "secrets": "tui.cli.commands.secrets:secrets",
    "context": "tui.cli.commands.context:context",
    "completion": "tui.cli.commands.completion:completion",
    "version": "tui.cli.commands.version:version",
}


class Commands(click.Group):
    """A group whose commands are named in `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        return getattr(importlib.import_module(module), name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def orbit() -> None:
    """Background AI work on whatever machines you have, inside its SLA, for the least money.

    \b
    Start here:  orbit demo        the whole thing, in a minute
                 orbit up          a mesh of your own, in this terminal
    Exit codes:  0 done · 1 the run failed in part or whole · 2 usage · 3 invalid file · 4 not found
                 5 mesh unreachable · 6 refused · 70 a bug · 130 Ctrl-C.  ORBIT_DEBUG=1 shows tracebacks.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code. Nothing is raised."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own remarks on broken connections; before its import
    from tui.cli.exits import report

    try:
        orbit.main(args=None if arguments is None else list(arguments), prog_name="orbit", standalone_mode=False)
    except BrokenPipeError:  # `orbit runs | head`: whoever read has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except SystemExit as ending:  # how click ends after it has answered a shell's question for completions
        return int(ending.code or 0)
    except BaseException as error:
        return report(error)
    return 0


def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=os.environ.get("ORBIT_LOG", "WARNING").upper(), format="%(message)s")
    sys.exit(run())


if __name__ == "__main__":
    main()
