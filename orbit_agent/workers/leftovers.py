"""What an agent that was killed left behind: scratch directories, and processes that a satellite had started.

A worker dies with its agent (`restrict`), but not so what it had started itself. All of them carry the scratch
root of their agent in their environment, and no two agents share one.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

import psutil

VARIABLE: Final = "ORBIT_SCRATCH_ROOT"


def clear(scratch_root: Path) -> None:
    """Kills what still runs for `scratch_root` and empties it."""
    for process in psutil.process_iter():
        # Gone by now, or another user's: not ours either way.
        with contextlib.suppress(psutil.Error):
            if process.environ().get(VARIABLE) == str(scratch_root):
                process.kill()
    shutil.rmtree(scratch_root, ignore_errors=True)
    scratch_root.mkdir(parents=True)
