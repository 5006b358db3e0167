"""The bodies of requests in OpenAI's format: chat completions and embeddings, as far as Orbit's models serve them.

What would change the answer and is not served is an error; what would not (`user`, `metadata`, `store`) is ignored.
A body becomes a `Chat` or an `Embeddings`; how it is answered is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

CHAT: Final = "/v1/chat/completions"
EMBEDDINGS: Final = "/v1/embeddings"
ENDPOINTS: Final = (CHAT, EMBEDDINGS)

_INPUTS_MAX: Final = 2_048
_STOPS_MAX: Final = 4


class RequestError(Exception):
    """A request that cannot be served. `code` and `param` are as in OpenAI's error objects; `status` is HTTP's."""

    def __init__(self, code: str, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.status = status


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat completion. `max_tokens`: None where the request does not say. `json_schema`: the answer is held to it."""

    model: str | None
    messages: tuple[Mapping[str, str], ...]
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    stop: tuple[str, ...]
    json_schema: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Texts to be embedded. `base64`: the vectors as 32-bit floats, little-endian, in base64."""

    model: str | None
    texts: tuple[str, ...]
    base64: bool


def parse(url: str, body: Mapping[str, Any]) -> Chat | Embeddings:
    """The request that a body makes of an endpoint. Raises `RequestError` with the first thing that is wrong."""
    try:
        match url:
            case "/v1/chat/completions":
                return _chat(_ChatBody.model_validate(body))
            case "/v1/embeddings":
                return _embeddings(_EmbeddingsBody.model_validate(body))
            case _:
                raise RequestError(
                    "invalid_url", f"{url[:100]!r} is not served: {' and '.join(ENDPOINTS)} are", param="url"
                )
    except ValidationError as error:
        raise _first_of(error) from None


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _TextPart(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["text"]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[tuple[_TextPart, ...], Field(min_length=1)]

    def plain(self) -> dict[str, str]:
        role = "system" if self.role == "developer" else self.role
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": role, "content": content}


class _JsonSchema(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_: dict[str, Any] = Field(alias="schema")


class _ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _ChatBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str | None = Field(default=None, min_length=1)
    messages: Annotated[tuple[_Message, ...], Field(min_length=1)]
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...] | None, BeforeValidator(_texts)] = Field(
        default=None, max_length=_STOPS_MAX
    )
    response_format: _ResponseFormat | None = None
    # What is not served, unless it says what would happen anyway.
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    logprobs: Literal[False] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    tools: Annotated[tuple[Any, ...], Field(max_length=0)] | None = None
    functions: Annotated[tuple[Any, ...], Field(max_length=0)] | None = None
    audio: None = None


class _EmbeddingsBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    model: str | None = Field(default=None, min_length=1)
    input: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        BeforeValidator(_texts),
        Field(min_length=1, max_length=_INPUTS_MAX),
    ]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: None = None


#: Fields that mean something to OpenAI and nothing here: their errors are not about a value, but about the field.
_NOT_SERVED: Final = frozenset(
    {"n", "stream", "logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "tools", "functions", "audio",
     "dimensions"}
)  # fmt: skip


def _chat(body: _ChatBody) -> Chat:
    json_schema: Mapping[str, Any] | None = None
    if body.response_format is not None and body.response_format.type != "text":
        json_schema = {"type": "object"}
        if body.response_format.type == "json_schema":
            if body.response_format.json_schema is None:
                raise RequestError(
                    "missing_required_parameter",
                    "response_format.json_schema is missing",
                    param="response_format.json_schema",
                )
            json_schema = body.response_format.json_schema.schema_
    if json_schema is not None and body.stop:
        raise RequestError("unsupported_parameter", "stop is for text: JSON ends where its schema does", param="stop")
    return Chat(
        model=body.model,
        messages=tuple(message.plain() for message in body.messages),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=body.stop or (),
        json_schema=json_schema,
    )


def _embeddings(body: _EmbeddingsBody) -> Embeddings:
    return Embeddings(body.model, body.input, body.encoding_format == "base64")


def _first_of(error: ValidationError) -> RequestError:
    """The first problem, as OpenAI words them."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # pydantic names the branch of a union between the keys: `content.str`, `content.tuple[…]`.
    path = [str(part) for part in problem["loc"] if not _is_branch(part)]
    param = ".".join(path)
    if path and path[0] in _NOT_SERVED:
        return RequestError("unsupported_parameter", f"{path[0]} is not served in this form", param=path[0])
    if problem["type"] == "missing":
        return RequestError("missing_required_parameter", f"{param} is missing", param=param)
    return RequestError("invalid_value", f"{param}: {problem['msg']}", param=param)


def _is_branch(part: int | str) -> bool:
    return isinstance(part, str) and (part == "str" or "[" in part)
