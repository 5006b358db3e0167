"""Guesses the next tokens of a text from what the same text held before (prompt lookup decoding, Saxena 2023).

Work that copies from its input (extraction, rewriting, JSON) repeats itself. A guess costs a wider run of the
model, so how many tokens are guessed follows from how often guesses were right and what width costs here.
Guessing never changes a text: `batching` draws every token itself and keeps only guesses that equal its draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_NGRAMS: Final = (3, 2)  # the longer one first: what follows it is likelier right
_WIDTHS: Final = (1, 2, 4, 8, 16)
_SMOOTHING: Final = 0.2


class Lookup:
    """Where each run of three or two tokens was last seen in one growing text."""

    __slots__ = ("_indexed", "_last", "hit_rate")

    def __init__(self) -> None:
        self._last: dict[tuple[int, ...], int] = {}
        self._indexed = 0
        self.hit_rate = 0.5  # how likely the next guessed token is right

    def guess(self, tokens: Sequence[int], width: int) -> list[int]:
        """Up to `width` tokens that followed the last three, else the last two, of `tokens` before; none where new."""
        for end in range(max(self._indexed, min(_NGRAMS)), len(tokens)):
            for size in _NGRAMS:
                if size <= end:
                    self._last[tuple(tokens[end - size : end])] = end
        self._indexed = len(tokens)
        for size in _NGRAMS:
            found = self._last.get(tuple(tokens[-size:]))
            if found is not None:
                return list(tokens[found : found + width])
        return []

    def learn(self, guessed: int, right: int) -> None:
        """Takes in that the first `right` of `guessed` tokens were so."""
        share = right / (right + 1) if right < guessed else 1.0
        self.hit_rate += _SMOOTHING * (min(share, 0.98) - self.hit_rate)


class WidthCost:
    """What a run of one sequence costs by its width in tokens: learnt, a base and a slope in seconds."""

    __slots__ = ("_base_s", "_slope_s")

    def __init__(self) -> None:
        self._base_s: float | None = None
        self._slope_s: float | None = None

    def learn(self, width: int, seconds: float) -> None:
        """Takes in one timed run."""
        if width == 1:
            self._base_s = seconds if self._base_s is None else self._base_s + _SMOOTHING * (seconds - self._base_s)
        elif self._base_s is not None:
            slope = max(0.0, (seconds - self._base_s) / (width - 1))
            self._slope_s = slope if self._slope_s is None else self._slope_s + _SMOOTHING * (slope - self._slope_s)

    def best_width(self, hit_rate: float) -> int:
        """How many tokens to guess for the most tokens a second; 0 where one at a time is best."""
        if self._base_s is None:
            return 0
        if self._slope_s is None:
            return _WIDTHS[0]  # a first measurement
        best, rate = 0, 1.0 / self._base_s
        for width in _WIDTHS:
            expected = 1.0 + hit_rate * (1.0 - hit_rate**width) / (1.0 - hit_rate)
            achieved = expected / (self._base_s + self._slope_s * width)
            if achieved > rate:
                best, rate = width, achieved
        return best
