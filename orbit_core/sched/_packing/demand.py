"""Which requests come, and how often: told beforehand, or learnt from what is placed. Where they go lives elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orbit_core.sched._packing.model import Request

#: Learnt counts are looked at again after 1, 2, 4 … placements, and after every so many from then on, ...
_LOOK_AGAIN_MAX: Final = 4_096
#: ... when the older half of what was learnt is forgotten, and kinds beyond the most frequent ones with it.
_KINDS_MAX: Final = 512


def _order(request: Request) -> tuple[object, ...]:
    return (
        request.gpus,
        request.milli_per_gpu,
        request.cpu_milli,
        request.memory_mib,
        request.gpu_memory_mib,
        sorted(request.gpu_models),
    )


class Demand:
    """Frequencies of the requests, in a fixed order whatever order they came in.

    `expected`: as told; None: learn. Raises ValueError for a frequency that is negative or not a finite number.
    """

    def __init__(self, expected: Mapping[Request, float] | None) -> None:
        self._learns = expected is None
        self._counts: dict[Request, float] = {}
        self._known: dict[Request, float] = {}
        self._seen = 0
        self._look_at = 1
        for request, frequency in (expected or {}).items():
            if not 0 <= frequency < float("inf"):
                raise ValueError(f"the frequency of {request} is {frequency}")
            if frequency:
                self._known[request] = float(frequency)

    def saw(self, request: Request) -> bool:
        """Takes note of one more request; True when what was made of `frequencies` should be made again."""
        if not self._learns:
            return False
        self._counts[request] = self._counts.get(request, 0.0) + 1.0
        self._seen += 1
        if self._seen < self._look_at:
            return False
        if self._look_at >= _LOOK_AGAIN_MAX:
            self._forget()
        self._look_at += min(self._look_at, _LOOK_AGAIN_MAX)
        self._known = dict(self._counts)
        return True

    def _forget(self) -> None:
        often = sorted(self._counts, key=lambda request: (-self._counts[request], _order(request)))
        self._counts = {request: self._counts[request] / 2 for request in often[:_KINDS_MAX]}

    def frequencies(self) -> dict[Request, float]:
        """What was known when last looked at, in any unit: so it does not matter when somebody asks."""
        return {request: self._known[request] for request in sorted(self._known, key=_order)}
