"""The satellites' `Models`, served by this agent's model server."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from orbit_agent.inference.api import EmbedRequest, GenerateRequest, Inference, Message, Sampling, ScoreRequest
from orbit_agent.inference.errors import InferenceError
from satellites.contract import (
    Embedded,
    GenerateCall,
    Generated,
    Overflow,
    PermanentError,
    SatelliteError,
    Scored,
)


class ServedModels:
    """Turns a satellite's calls into requests, and what goes wrong into the satellite's errors."""

    def __init__(self, server: Inference) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    async def generate(self, call: GenerateCall) -> Generated:
        request = GenerateRequest(
            id=f"g{next(self._numbers)}",
            model=call.model,
            messages=tuple(Message(each["role"], each["content"]) for each in call.messages),  # type: ignore[arg-type]
            max_new_tokens=call.max_new_tokens,
            sampling=Sampling(call.temperature, call.top_p, call.top_k, call.seed),
            json_schema=call.json_schema,
            verbatim=tuple(call.verbatim),
            stop=tuple(call.stop),
            context_overflow=call.context_overflow,
        )
        try:
            result = await self._server.generate(request)
        except InferenceError as error:
            raise _satellite_error(error) from error
        finish = "length" if result.finish == "length" else "stop"
        return Generated(result.text, finish, result.input_tokens, result.output_tokens)

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        request = EmbedRequest(f"e{next(self._numbers)}", model, tuple(texts), normalize, context_overflow)
        try:
            result = await self._server.embed(request)
        except InferenceError as error:
            raise _satellite_error(error) from error
        return Embedded(result.vectors, input_tokens=result.input_tokens, truncated=result.truncated)

    async def score(
        self, model: str, pairs: Sequence[tuple[str, str | None]], *, context_overflow: Overflow = "truncate"
    ) -> Scored:
        request = ScoreRequest(f"s{next(self._numbers)}", model, tuple(pairs), context_overflow)
        try:
            result = await self._server.score(request)
        except InferenceError as error:
            raise _satellite_error(error) from error
        return Scored(result.scores, result.labels, result.input_tokens, result.truncated)


def _satellite_error(error: InferenceError) -> SatelliteError:
    kind = SatelliteError if error.retryable else PermanentError
    return kind(str(error), code=error.code)
