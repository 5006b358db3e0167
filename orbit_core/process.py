"""What every long-running process of Orbit does at its start: ends with its parent, runs fast, says it is ready."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Where `ORBIT_PARENT_DEATH_SIGNAL` is set (by `orbit up`), ask the kernel to end this process with its parent."""
    if os.environ.get("ORBIT_PARENT_DEATH_SIGNAL") != "1" or sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def say_ready(process_id: str, address: str) -> None:
    """The one line on standard output that says that this process can be reached."""
    line = json.dumps({"event": "ready", "id": process_id, "address": address})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` on uvloop where it is there."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
