"""What a worker process gives up before it runs anything of a user's. Called in the worker, never in the agent.

These are fences against accidents (a leak, a runaway file, a core dump of 8 GiB), not a sandbox against malice.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import sys
from typing import Final

from orbit_core.limits import BLOB_MAX_BYTES, MIB

#: The agent's own loop comes first when the machine is full.
NICENESS: Final = 10
OPEN_FILES_MAX: Final = 4_096
#: Dumps all stacks to stderr; the agent sends it before it kills an attempt that hangs.
DUMP_SIGNAL: Final = signal.SIGUSR1

_PR_SET_PDEATHSIG: Final = 1


def at_start(parent_pid: int) -> None:
    """Tie this process to its agent and bound what it may take."""
    _die_with_parent(parent_pid)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_FSIZE, BLOB_MAX_BYTES)
    _bound(resource.RLIMIT_NOFILE, OPEN_FILES_MAX)
    faulthandler.enable()
    faulthandler.register(DUMP_SIGNAL, all_threads=True)


def for_attempt(memory_bytes: int) -> None:
    """The backstop behind the agent's watch: an allocation far above the limit fails inside the process.

    It bounds private writable memory rather than resident memory, which thread stacks and allocators reserve well
    ahead of use; hence the room above the limit.
    """
    if sys.platform == "linux":
        _bound(resource.RLIMIT_DATA, 2 * memory_bytes + 512 * MIB, hard=False)


def reset_peak_memory() -> None:
    """Makes `peak_memory_bytes` count from now on, where the kernel allows it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as control:
        control.write("5")


def peak_memory_bytes() -> int:
    """The most memory that was resident since the last reset; 0 where the kernel does not say."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The agent may have died before the call above: nobody would tell us any more.
    if os.getppid() != parent_pid:
        os._exit(0)


def _bound(kind: int, limit: int, *, hard: bool = True) -> None:
    _, ceiling = resource.getrlimit(kind)
    soft = limit if ceiling == resource.RLIM_INFINITY else min(limit, ceiling)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (soft, soft if hard else ceiling))
