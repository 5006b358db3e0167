"""Guesses the next tokens of a text from what the same text held before (prompt lookup decoding, Saxena 2023).

Work that copies from its input (extraction, rewriting, JSON) repeats itself. A guess costs a wider run of the
model, so how many tokens are guessed follows from how often guesses were right and what width costs here.
Guessing never changes a text: `batching` draws every token itself and keeps only guesses that equal its draw.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

_NGRAMS: Final = (3, 2, 1)  # the longer one first: what follows it is likelier right
_LENGTHS: Final = (1, 2, 3, 5, 8)  # of matches, from which on they are told apart
_WIDEST: Final = 16
_FIRST_RATE: Final = 0.8  # high, so that every length is tried
_RATE_SMOOTHING: Final = 0.02
_SMOOTHING_DOWN: Final = 0.5
_SMOOTHING_UP: Final = 0.1
_FORGETTING: Final = 0.99
_TRIES: Final = (1, 1, 2, 4, 1, 8)  # widths to measure at first
_TRIED_TOKENS: Final = 8  # and no more than so many in all: where tokens are dear, they cost as many runs
_NO_MEASURE: Final = 3  # runs at first: the memory that they need was never touched before
_TRY_AGAIN: Final = 32  # plain runs, after which one more token is tried: texts and costs may have changed
_TURNS: Final = 4
_SHORTEST_S: Final = 1e-6


class Match(NamedTuple):
    """The last tokens of a text came before, just ahead of `place`; `kind` grows with how many of them did."""

    place: int
    kind: int


class Lookup:
    """Where each run of three, two or one tokens was last seen in one growing text."""

    __slots__ = ("_indexed", "_last")

    def __init__(self) -> None:
        self._last: dict[tuple[int, ...], int] = {}
        self._indexed = 0

    def match(self, tokens: Sequence[int]) -> Match | None:
        """Where the last three, else two, else the last one of `tokens` came before; None where it is new."""
        for end in range(max(self._indexed, min(_NGRAMS)), len(tokens)):
            for size in _NGRAMS:
                if size <= end:
                    self._last[tuple(tokens[end - size : end])] = end
        self._indexed = len(tokens)
        for size in _NGRAMS:
            place = self._last.get(tuple(tokens[-size:]))
            if place is not None:
                return Match(place, _kind(tokens, place, size))
        return None


def _kind(tokens: Sequence[int], place: int, length: int) -> int:
    """Where in `_LENGTHS` the match lies that ends before `place` and is at least so long."""
    while length < min(place, _LENGTHS[-1]) and tokens[place - length - 1] == tokens[-length - 1]:
        length += 1
    return bisect_right(_LENGTHS, length) - 1


def guessed(tokens: Sequence[int], match: Match, width: int) -> list[int]:
    """The `width` tokens that follow if `tokens` goes on as it did after the match, around and around if need be."""
    period = tokens[match.place :]
    return [period[place % len(period)] for place in range(width)]


class HitRates:
    """How likely a guessed token is right where those before it were: learnt over all texts, by the match's kind."""

    __slots__ = ("_rates",)

    def __init__(self) -> None:
        self._rates = [_FIRST_RATE] * len(_LENGTHS)

    def rate(self, match: Match | None) -> float:
        """The likelihood; 0 where there is nothing to guess from."""
        return 0.0 if match is None else self._rates[match.kind]

    def learn(self, match: Match, count: int, right: int) -> None:
        """Takes in that of `count` guessed tokens the first `right` were so."""
        share = right / (right + 1) if right < count else 1.0
        self._rates[match.kind] += _RATE_SMOOTHING * (min(share, 0.98) - self._rates[match.kind])


class _Line:
    """The straight line through the latest points: least squares, in which older points weigh ever less."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def learn(self, x: float, y: float) -> None:
        """Takes in a point."""
        new = (1.0, x, x * x, y, x * y)
        self._sums = tuple(_FORGETTING * old + each for old, each in zip(self._sums, new, strict=True))

    def fit(self) -> tuple[float, float] | None:
        """Its height at 0 and its slope, which does not fall; None without points.

        Through points of a single x it comes from the origin: that expects the worst of what lies further.
        """
        weight, x, xx, y, xy = self._sums
        if not weight:
            return None
        spread = weight * xx - x * x
        slope = max(0.0, (weight * xy - x * y) / spread) if spread > 1e-6 * weight * xx else y / x
        return (y - slope * x) / weight, slope


class WidthCost:
    """What runs of so many sequences cost: plain ones, with a token of each, and wider ones by their tokens."""

    __slots__ = ("_count", "_plain_runs", "_plain_s", "_runs", "_wide")

    def __init__(self, count: int) -> None:
        self._count = count
        self._plain_s: float | None = None
        self._wide = _Line()
        self._runs = 0
        self._plain_runs = 0  # since the last wide one

    def learn(self, tokens: int, seconds: float) -> None:
        """Takes in one timed run of so many tokens in all."""
        self._runs += 1
        if tokens > self._count:
            self._plain_runs = 0
            if self._runs > _NO_MEASURE:
                self._wide.learn(tokens, seconds)
            return
        self._plain_runs += 1
        if self._plain_s is None:
            self._plain_s = seconds
        # Nothing makes a run cheaper than it is; cold memory and busy neighbours make it dearer.
        weight = _SMOOTHING_DOWN if seconds < self._plain_s else _SMOOTHING_UP
        self._plain_s += weight * (seconds - self._plain_s)

    def best_widths(self, hit_rates: Sequence[float]) -> list[int]:
        """How many tokens to guess for each of the sequences, for the most tokens a second.

        A further guess is worth its place where it is likelier right than what the run makes in that time. What a run
        makes follows from the guesses, so both are found in turns (Dinkelbach 1967).
        """
        if self._plain_s is None:
            return [0] * self._count
        if self._runs <= len(_TRIES):
            return [min(_TRIES[self._runs - 1], max(1, _TRIED_TOKENS // self._count))] * self._count
        line = self._wide.fit()
        if line is None or self._plain_runs >= _TRY_AGAIN:
            return [1] * self._count
        start_s, slope_s = line
        best, rate = [0] * self._count, self._count / self._plain_s
        for _ in range(_TURNS):
            widths = [_worth(hit_rate, slope_s * rate) for hit_rate in hit_rates]
            made = sum((1.0 - hit ** (width + 1)) / (1.0 - hit) for hit, width in zip(hit_rates, widths, strict=True))
            seconds = max(start_s + slope_s * (self._count + sum(widths)), _SHORTEST_S)
            if not any(widths) or made / seconds <= rate:
                break
            best, rate = widths, made / seconds
        return best


def _worth(hit_rate: float, least: float) -> int:
    """The most guesses of which even the last is right with a chance of at least `least`."""
    if hit_rate < least:
        return 0
    return _WIDEST if hit_rate**_WIDEST >= least else int(math.log(least) / math.log(hit_rate))
