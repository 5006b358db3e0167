"""The last step of a batch: the requests of a page, answered together by one model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, Field, field_validator

from orbit_core.batch import answers, requests
from orbit_core.batch.cluster import MAX_TOKENS, MAX_TOKENS_MOST
from orbit_core.batch.lines import Entry, LineError, decode_entry
from orbit_core.batch.requests import Chat, Embeddings, RequestError
from satellites.contract import (
    Context,
    FileRef,
    GenerateCall,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteError,
    SatelliteInput,
    Usage,
)
from satellites.requirements import MODELS

#: Errors that are about the model and not about a request: no line can do better, so the attempt fails as a whole.
_OF_THE_MODEL: Final = frozenset(
    {"unknown-model", "misplaced-model", "corrupt-model", "model-source", "unsupported-model", "no-room", "provider"}
)
#: Requests of one page that may fail alone for reasons that should pass, before the page is left to another attempt.
_KILLERS_MOST: Final = 4
#: What the models' errors are called in OpenAI's, with the field that they are about.
_OPENAI_CODES: Final[dict[str, tuple[str, str | None]]] = {
    "prompt-too-long": ("context_length_exceeded", "messages"),
    "unsupported-schema": ("invalid_value", "response_format.json_schema"),
    "invalid-generation": ("invalid_value", None),
}


class BatchAnswersConfig(SatelliteConfig):
    model: str = Field(min_length=1, description="The name under which the mesh knows it.")
    max_tokens: int = Field(
        default=MAX_TOKENS, ge=1, le=MAX_TOKENS_MOST, description="Of an answer whose request does not say."
    )
    any_model: bool = Field(default=False, description="Answer lines that name another model too.")
    concurrency: int = Field(default=64, ge=1, le=1_024, description="Requests that are with the model at once.")


class BatchAnswersInput(SatelliteInput):
    page: int = Field(ge=0, description="Its number.")
    file: dict[str, Any] = Field(description="The page, as `batch-pages` gives it.")

    @field_validator("file")
    @classmethod
    def _is_file(cls, value: dict[str, Any]) -> dict[str, Any]:
        if FileRef.from_json(value) is None:
            raise ValueError("this is not a file; it comes from `batch-pages`")
        return value


@dataclass(frozen=True, slots=True)
class _Answer:
    ok: bool
    line: bytes


class BatchAnswers(Satellite[BatchAnswersConfig, BatchAnswersInput]):
    """Output: `page`, the numbers of `lines`, `succeeded` and `failed`, and the files `output` and `errors` with their
    answers in the order of the page; null where there are none.

    A request that cannot be answered becomes a line of `errors`. The attempt fails only where no request could be
    answered: the model is unknown here, damaged, or does not fit.
    """

    name = "satellite/orbit/batch-answers"
    summary = "Answers a page of requests: the last step of `orbit batch`"
    Config: ClassVar[type[BaseModel]] = BatchAnswersConfig
    Input = BatchAnswersInput
    requires = MODELS
    #: The model itself runs in a process of its own, which is accounted for apart.
    resources = Resources(cpu=1.0, memory_bytes=256 * 1024 * 1024)
    timeout_s = 6 * 3_600.0
    covariate = "tokens"
    typical_s = 60.0

    @classmethod
    def model_of(cls, config: BaseModel) -> str | None:
        assert isinstance(config, BatchAnswersConfig)
        return config.model

    async def run(
        self, config: BatchAnswersConfig, input: BatchAnswersInput, context: Context
    ) -> AsyncIterator[JsonObject]:
        ref = FileRef.from_json(input.file)
        assert ref is not None
        path = await context.files.path(ref)
        try:
            entries = [decode_entry(line) for line in path.read_bytes().splitlines()]
        except ValueError as error:
            raise PermanentError(f"the page cannot be read: {error}", code="invalid-page") from error
        found = await _Page(config, context).answer(entries)
        yield {
            "page": input.page,
            "lines": len(found),
            "succeeded": sum(answer.ok for answer in found),
            "failed": sum(not answer.ok for answer in found),
            "output": await _file(context, "output", input.page, [answer.line for answer in found if answer.ok]),
            "errors": await _file(context, "errors", input.page, [answer.line for answer in found if not answer.ok]),
        }


class _Page:
    """The requests of one page."""

    def __init__(self, config: BatchAnswersConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._failed_alone = 0

    async def answer(self, entries: list[Entry]) -> list[_Answer]:
        """An answer for each entry, in order."""
        found: dict[int, _Answer] = {}
        # A request that kills the model's process takes those beside it along: they are sent again, in the end one
        # by one, so that only the killer is left without an answer.
        for concurrency in (self._config.concurrency, self._config.concurrency, 1):
            await self._round(entries, found, asyncio.Semaphore(concurrency), alone=concurrency == 1)
        return [found[index] for index in range(len(entries))]

    async def _round(
        self, entries: list[Entry], found: dict[int, _Answer], room: asyncio.Semaphore, *, alone: bool
    ) -> None:
        """Fills in what is missing in `found`, as far as the model's process lives."""

        async def fill(index: int) -> None:
            async with room:
                answer = await self._one(entries[index], alone)
                if answer is not None:
                    found[index] = answer

        try:
            async with asyncio.TaskGroup() as group:
                for index in range(len(entries)):
                    if index not in found:
                        group.create_task(fill(index))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _one(self, entry: Entry, alone: bool) -> _Answer | None:
        """None: the model's process was lost with it, and it may be sent again."""
        number, custom_id = entry.get("line", 0), entry.get("custom_id")
        identifier = answers.request_id(self._context.run_id, number)
        try:
            if "error" in entry:
                return _Answer(False, answers.failed(identifier, custom_id, number, entry["error"]))
            body = await self._body(identifier, requests.parse(entry.get("url", ""), entry.get("body", {})))
        except RequestError as error:
            problem = LineError(code=error.code, message=str(error), param=error.param, status=error.status)
        except SatelliteError as error:
            if error.code in _OF_THE_MODEL:
                raise
            if not isinstance(error, PermanentError):
                if not alone:
                    self._context.log.warning("line %d is asked again: %s", number, error)
                    return None
                self._failed_alone += 1
                if self._failed_alone > _KILLERS_MOST:
                    raise  # so many are not to blame each for itself: another attempt may find a model that lives
            problem = _problem(error, entry.get("url", ""))
        else:
            return _Answer(True, answers.answered(identifier, custom_id, body))
        return _Answer(False, answers.failed(identifier, custom_id, number, problem))

    async def _body(self, identifier: str, request: Chat | Embeddings) -> dict[str, Any]:
        model = self._config.model
        if request.model not in (None, model) and not self._config.any_model:
            raise RequestError(
                "model_not_found",
                f"this batch is answered by {model}, not by {request.model}: leave the model out, or submit with "
                "--any-model",
                param="model",
                status=404,
            )
        if isinstance(request, Embeddings):
            embedded = await self._context.models.embed(model, request.texts, context_overflow="error")
            self._context.usage.append(Usage(embedded.input_tokens, 0))
            return answers.embeddings_body(
                model, embedded, as_base64=request.base64, input_tokens=embedded.input_tokens
            )
        generated = await self._context.models.generate(
            GenerateCall(
                model=model,
                messages=request.messages,
                max_new_tokens=request.max_tokens or self._config.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,
                json_schema=request.json_schema,
                stop=request.stop,
            )
        )
        self._context.usage.append(Usage(generated.input_tokens, generated.output_tokens))
        return answers.chat_body(
            identifier,
            model,
            generated.text,
            generated.finish,
            input_tokens=generated.input_tokens,
            output_tokens=generated.output_tokens,
            created_s=int(time.time()),
        )


def _problem(error: SatelliteError, url: str) -> LineError:
    code, param = _OPENAI_CODES.get(error.code, (error.code.replace("-", "_"), None))
    if param == "messages" and url == requests.EMBEDDINGS:
        param = "input"
    status = 400 if error.code in _OPENAI_CODES else 500
    return LineError(code=code, message=str(error), param=param, status=status)


async def _file(context: Context, kind: str, page: int, lines: list[bytes]) -> JsonObject | None:
    if not lines:
        return None
    path: Path = context.scratch / f"{kind}-{page}.jsonl"
    with path.open("wb") as file:
        file.writelines(lines)
    return (await context.files.put(path, name=path.name, media_type="application/jsonl")).to_json()
