"""Named places at which a test can end the process, so that a crash hits a chosen line and not a lucky moment.

`ORBIT_FAILPOINTS="before-dispatch=3"` ends the process with SIGKILL the third time that it comes by. Without the
variable, `reach` costs a dictionary look-up.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "ORBIT_FAILPOINTS"


def _parse(text: str) -> dict[str, int]:
    """`name=count,name=count`; a name alone means the first time."""
    found: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, count = part.partition("=")
        found[name] = int(count or "1")
    return found


_remaining = _parse(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """Says that the process is at the failpoint `name`; it may be the last thing that it says."""
    if name not in _remaining:
        return
    _remaining[name] -= 1
    if _remaining[name] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
