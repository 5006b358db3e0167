"""How long to wait before something is tried again. One formula for the whole store."""

from __future__ import annotations

import random

_FIRST_S = 0.05
_LONGEST_S = 1.0


def backoff_s(attempt: int) -> float:
    """Seconds before try `attempt` + 1 (the first try is 1): 50 ms, doubling up to 1 s, up to half of it left out."""
    return min(_LONGEST_S, _FIRST_S * 2.0 ** min(attempt - 1, 10)) * random.uniform(0.5, 1.0)
