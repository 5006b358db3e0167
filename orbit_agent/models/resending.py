"""Requests that are asked again where asking again is no concern of whoever asked.

The end of a model's process is no fault of the work that it held, so it costs no attempt: the next process is asked.
Only so often: a request that was there at every crash may well be their cause, and then its attempt fails. A model
that is not known here is looked up in the mesh first: it may have been registered a moment ago.
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
from orbit_agent.inference.errors import ModelCrashedError, UnknownModelError

_log = logging.getLogger(__name__)

#: How often one request is asked again after its model's process ended.
RESENDS_MAX: Final = 2

Q = TypeVar("Q", GenerateRequest, EmbedRequest, ScoreRequest)
R = TypeVar("R")


#: Looks a model up in the mesh; whether it is known there.
Look = Callable[[str], Awaitable[bool]]


class Resending:
    """`Inference` over a server whose processes may end, and whose registrations may be a moment old."""

    def __init__(self, server: Inference, look: Look) -> None:
        self._server = server
        self._look = look

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        return await self._ask(self._server.generate, request)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        return await self._ask(self._server.embed, request)

    async def score(self, request: ScoreRequest) -> ScoreResult:
        return await self._ask(self._server.score, request)

    async def _ask(self, ask: Callable[[Q], Awaitable[R]], request: Q) -> R:
        crashes, looked = 0, False
        while True:
            try:
                return await ask(request)
            except UnknownModelError:
                if looked or not await self._look(request.model):
                    raise
                looked = True
            except ModelCrashedError as error:
                crashes += 1
                if crashes > RESENDS_MAX:
                    raise
                _log.warning("a request is asked again: %s", error.message)
