"""Draws tokens from logits. Pure arithmetic over numpy; one uniform number for each token drawn.

A request's numbers come from its own generator, so a seed gives the same text whatever shares the batch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from orbit_agent.inference.api import Sampling
from orbit_agent.inference.errors import InvalidGenerationError

Logits = npt.NDArray[np.float32]

#: For `top_p` only so many of the likeliest tokens are sorted first; all of them where these hold too little.
_NUCLEUS_GUESS: Final = 512


def check_sampling(sampling: Sampling) -> None:
    """Raises `InvalidGenerationError` for settings out of range."""
    if not 0.0 <= sampling.temperature <= 100.0:
        raise InvalidGenerationError(f"temperature is {sampling.temperature}: it goes from 0 to 100")
    if not 0.0 < sampling.top_p <= 1.0:
        raise InvalidGenerationError(f"top_p is {sampling.top_p}: above 0, at most 1")
    if sampling.top_k < 0:
        raise InvalidGenerationError(f"top_k is {sampling.top_k}: 0 (all) or more")
    if sampling.seed is not None and sampling.seed < 0:
        raise InvalidGenerationError(f"seed is {sampling.seed}: 0 or more")


class Sampler:
    """Draws the tokens of one request."""

    __slots__ = ("_generator", "_settings")

    def __init__(self, settings: Sampling) -> None:
        self._settings = settings
        self._generator = np.random.default_rng(settings.seed) if settings.temperature > 0 else None

    @property
    def greedy(self) -> bool:
        """The likeliest token is taken, no number is drawn."""
        return self._generator is None or self._settings.top_k == 1

    def draw(self, logits: Logits) -> int:
        """One token from `logits` ([vocabulary]); what is minus infinity is never drawn."""
        if self._generator is None or self._settings.top_k == 1:
            return int(logits.argmax())
        tokens, weights = self._candidates(logits)
        cumulative = np.cumsum(weights, dtype=np.float64)
        place = int(np.searchsorted(cumulative, self._generator.random() * cumulative[-1], side="right"))
        place = min(place, len(weights) - 1)
        return int(place if tokens is None else tokens[place])

    def _candidates(self, logits: Logits) -> tuple[npt.NDArray[np.intp] | None, Logits]:
        """The tokens left by `top_k` and `top_p` (None: all, in order), and their weights."""
        settings = self._settings
        tokens: npt.NDArray[np.intp] | None = None
        if 0 < settings.top_k < len(logits):
            tokens = np.argpartition(logits, -settings.top_k)[-settings.top_k :]
            logits = logits[tokens]
        weights = np.exp((logits - logits.max()) / np.float32(settings.temperature))
        if settings.top_p >= 1.0:
            return tokens, weights
        kept = nucleus(weights, settings.top_p)
        return (kept if tokens is None else tokens[kept]), weights[kept]


def nucleus(weights: Logits, top_p: float) -> npt.NDArray[np.intp]:
    """The fewest likeliest tokens whose weights reach the share `top_p` of all, likeliest first."""
    wanted = top_p * float(weights.sum(dtype=np.float64))
    count = min(_NUCLEUS_GUESS, len(weights))
    while True:
        partial = count < len(weights)
        likeliest = np.argpartition(weights, -count)[-count:] if partial else np.arange(len(weights))
        likeliest = likeliest[np.argsort(-weights[likeliest], kind="stable")]
        reached = int(np.searchsorted(np.cumsum(weights[likeliest], dtype=np.float64), wanted, side="left"))
        if reached < count or count == len(weights):
            return likeliest[: reached + 1]
        count = min(count * 8, len(weights))
