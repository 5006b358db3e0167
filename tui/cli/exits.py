"""Exit codes of `orbit`, and how an error is told to a person. No command and no rendering of data belongs here.

0    done
1    the run that was waited for failed, partially succeeded, or was cancelled
2    the command line is wrong
3    a cluster file is not valid
4    there is no such thing
5    the mesh, or its store, cannot be reached
6    refused: a conflict, a limit, a missing secret, a state that does not allow it
70   a bug of Orbit's
130  Ctrl-C
"""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from orbit_core.errors import (
    InternalError,
    InvalidRequestError,
    InvalidSpecError,
    MeshUnreachableError,
    NotFoundError,
    NotLeaderError,
    OrbitError,
    StoreError,
    StoreFullError,
)


class Exit(IntEnum):
    OK = 0
    RUN_FAILED = 1
    USAGE = 2
    INVALID_FILE = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    REFUSED = 6
    BUG = 70
    INTERRUPTED = 130


#: The first class that matches decides.
_CODES: Final[tuple[tuple[type[OrbitError], Exit], ...]] = (
    (InvalidSpecError, Exit.INVALID_FILE),
    (InvalidRequestError, Exit.USAGE),
    (NotFoundError, Exit.NOT_FOUND),
    (StoreFullError, Exit.REFUSED),
    (MeshUnreachableError, Exit.UNREACHABLE),
    (NotLeaderError, Exit.UNREACHABLE),
    (StoreError, Exit.UNREACHABLE),
    (InternalError, Exit.BUG),
)


class Quit(Exception):
    """Ends the command with a code and no message: everything has been said."""

    def __init__(self, code: Exit) -> None:
        self.code = code


def code_of(error: OrbitError) -> Exit:
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.REFUSED)


def report(error: BaseException) -> Exit:
    """Tell the person what happened and what to do next; the exit code. `ORBIT_DEBUG=1` shows the traceback too."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    match error:
        case Quit():
            return error.code
        case click.exceptions.Exit():
            return Exit(error.exit_code) if error.exit_code in set(Exit) else Exit.RUN_FAILED
        case KeyboardInterrupt() | click.Abort():
            console.print("interrupted", style="dim")
            return Exit.INTERRUPTED
    if os.environ.get("ORBIT_DEBUG") == "1":
        sys.excepthook(type(error), error, error.__traceback__)
    match error:
        case click.ClickException():
            error.show()
            return Exit.USAGE
        case OrbitError():
            _tell(console, error)
            return code_of(error)
        case _:
            console.print(Text.assemble(("error: ", "bold red"), f"{type(error).__name__}: {error}"))
            console.print(Text("  this is a bug of Orbit's: ORBIT_DEBUG=1 shows the traceback", "dim"))
            return Exit.BUG


def _tell(console: Console, error: OrbitError) -> None:
    if isinstance(error, InvalidSpecError) and error.violations:
        for violation in error.violations:
            console.print(Text(violation.description))
    else:
        console.print(Text.assemble(("error: ", "bold red"), error.message))
        for violation in error.violations if isinstance(error, InvalidRequestError) else ():
            console.print(
                Text(f"  {violation.path}: {violation.description}" if violation.path else violation.description)
            )
    if error.remedy:
        console.print(Text.assemble(("  what now: ", "bold"), error.remedy))
