"""A process and all that it has started: how much memory they hold, and their end.

`psutil` finds children by reading every process of the machine, far too much for several times a second; Linux
lists them under `/proc`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import psutil


def descendants(pid: int) -> list[int]:
    """Parents before children; empty if the process is gone."""
    if sys.platform != "linux" or not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        return []
    found: list[int] = []
    pending = [pid]
    while pending:
        children = _children(pending.pop())
        found += children
        pending += children
    return found


def resident_bytes(pid: int) -> int:
    """Memory of the process and its descendants; 0 if it is gone."""
    total = 0
    for member in (pid, *descendants(pid)):
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(member).memory_info().rss
    return total


def kill(pid: int) -> None:
    """Ends the process, its group and its descendants. The process must not have been waited for yet."""
    # First: those that have left the group can only be found through their parents.
    strays = descendants(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for stray in strays:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(stray, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as listing:
            found += map(int, listing.read().split())
    return found
