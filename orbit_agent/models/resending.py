"""Requests outlive the process of their model: what was held by one that ended is asked again, of the next.

The end of a model's process is no fault of the work that it held, so it costs no attempt. Only so often: a request
that was there at every crash may well be their cause, and then its attempt fails.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from orbit_agent.inference.api import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    GenerateResult,
    Inference,
    ScoreRequest,
    ScoreResult,
)
from orbit_agent.inference.errors import ModelCrashedError

_log = logging.getLogger(__name__)

#: How often one request is asked again after its model's process ended.
RESENDS_MAX: Final = 2

Q = TypeVar("Q")
R = TypeVar("R")


class Resending:
    """`Inference` over a server whose processes may end."""

    def __init__(self, server: Inference) -> None:
        self._server = server

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        return await _ask(self._server.generate, request)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        return await _ask(self._server.embed, request)

    async def score(self, request: ScoreRequest) -> ScoreResult:
        return await _ask(self._server.score, request)


async def _ask(ask: Callable[[Q], Awaitable[R]], request: Q) -> R:
    for resend in range(RESENDS_MAX + 1):
        try:
            return await ask(request)
        except ModelCrashedError as error:
            if resend == RESENDS_MAX:
                raise
            _log.warning("a request is asked again: %s", error.message)
    raise AssertionError("the loop ends by returning or raising")
