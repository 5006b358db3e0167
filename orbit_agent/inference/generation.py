"""One text in the making: its tokens, how the next one is drawn, and when it is done.

Shared by what drives it (`batching`); knows neither slots nor sessions.
"""

from __future__ import annotations

from collections.abc import Sequence

from orbit_agent.inference.api import Finish, GenerateRequest, GenerateResult
from orbit_agent.inference.errors import InvalidGenerationError
from orbit_agent.inference.guidance import Guidance, Guide
from orbit_agent.inference.lookup import Lookup
from orbit_agent.inference.sampling import Logits, Sampler, check_sampling
from orbit_agent.inference.text import StopScanner, TextCodec


def check_request(request: GenerateRequest) -> None:
    """Raises `InvalidGenerationError` for settings out of range."""
    check_sampling(request.sampling)
    if request.max_new_tokens < 1:
        raise InvalidGenerationError(f"max_new_tokens is {request.max_new_tokens}: 1 or more")
    if any(not stop for stop in request.stop):
        raise InvalidGenerationError("a stop string is empty")


class Generation:
    """`tokens` are the prompt and the output so far, of which the model has seen the first `cached`."""

    __slots__ = (
        "_eos_ids",
        "_limit",
        "_sampler",
        "_scanner",
        "cached",
        "finish",
        "guide",
        "lookup",
        "prompt_length",
        "tokens",
        "truncated",
    )

    def __init__(
        self,
        request: GenerateRequest,
        prompt: Sequence[int],
        *,
        truncated: bool,
        codec: TextCodec,
        guide: Guide | None,
        eos_ids: frozenset[int],
    ) -> None:
        self.tokens = list(prompt)
        self.prompt_length = len(prompt)
        self.truncated = truncated
        self.cached = 0
        self.guide = guide
        self.lookup = Lookup()
        self.finish: Finish | None = None
        self._limit = len(prompt) + request.max_new_tokens
        self._sampler = Sampler(request.sampling)
        self._scanner = StopScanner(codec.tokenizer, request.stop) if request.stop else None
        self._eos_ids = eos_ids
        if guide is not None:
            self._commit_forced(guide)

    @property
    def pending(self) -> int:
        """How many tokens the model has yet to see. The next one can be drawn once it has seen them all."""
        return len(self.tokens) - self.cached

    @property
    def longest(self) -> int:
        """The most tokens that this sequence can come to."""
        return self._limit

    def take(self, logits: Logits) -> None:
        """Draws the next token from `logits` ([vocabulary], masked by the guide if there is one)."""
        self._commit(self._sampler.draw(logits))
        if self.guide is not None and self.finish is None:
            self._commit_forced(self.guide)

    def _commit_forced(self, guide: Guide) -> None:
        """Adds what the schema leaves no choice about: it needs no draw, hence none of the seed's numbers."""
        for token in guide.forced():
            if self.finish is None:
                self._commit(token)

    def _commit(self, token: int) -> None:
        if token in self._eos_ids:
            self.finish = "stop"
            return
        self.tokens.append(token)
        if self.guide is not None and (not self.guide.accept(token) or self.guide.finished()):
            self.finish = "stop"
        if self._scanner is not None and self._scanner.feed(token):
            self.finish = "stop"
        if self.finish is None and len(self.tokens) >= self._limit:
            self.finish = "length"

    def result(self, codec: TextCodec) -> GenerateResult:
        """What there is, once `finish` is set."""
        output = self.tokens[self.prompt_length :]
        stopped = self._scanner is not None and self._scanner.stopped
        return GenerateResult(
            text=self._scanner.text if self._scanner is not None and stopped else codec.decode(output),
            finish=self.finish or "cancelled",
            input_tokens=self.prompt_length,
            output_tokens=len(output),
            truncated=self.truncated,
        )


def begin(
    request: GenerateRequest,
    *,
    codec: TextCodec,
    guidance: Guidance,
    context_length: int,
    eos_ids: frozenset[int],
) -> Generation:
    """Checks and tokenises a request. Raises the errors of `text`, `guidance` and `sampling`."""
    check_request(request)
    prompt, truncated = codec.encode_request(request, context_length)
    guide = None
    if request.json_schema is not None and request.verbatim:
        guide = guidance.quoting(request.json_schema, request.verbatim, request.quotable())
    elif request.json_schema is not None:
        guide = guidance.guide(request.json_schema)
    return Generation(request, prompt, truncated=truncated, codec=codec, guide=guide, eos_ids=eos_ids)
