"""What can go wrong with a model or a request to one. Each is a `ModelError`, so it fails that item alone.

    ModelError
    ├── UnknownModelError         no model of that name is in the store
    ├── MisplacedModelError       the model is kept to agents with other labels  (retryable, elsewhere)
    ├── CorruptModelError         a file is missing or its hash is not the manifest's
    ├── ModelSourceError          a source cannot be read: no such folder, bucket, repository or revision
    ├── UnsupportedModelError     a graph or a task that this server cannot run
    ├── NoRoomError               disk or memory: it does not fit beside what is in use
    ├── ProviderError             no usable execution provider, or two that exclude each other
    ├── UnsupportedSchemaError    a schema that cannot be held while decoding; found at submission
    ├── InvalidGenerationError    settings out of range, or neither messages nor a prompt
    ├── PromptTooLongError        prompt and answer do not fit the model's context
    └── ModelCrashedError         the model's process ended; the request may be sent again  (retryable)

`retryable` says whether the same request may succeed on another try; the rest would fail again.
Errors cross the pipe between a model's process and the agent by their `code`.
"""

from __future__ import annotations

from typing import ClassVar

from orbit_core.errors import ModelError


class InferenceError(ModelError):
    """A model could not be used."""

    code = "inference"
    retryable: ClassVar[bool] = False


class UnknownModelError(InferenceError):
    """There is no model of that name here."""

    status = "NOT_FOUND"
    code = "unknown-model"


class MisplacedModelError(InferenceError):
    """The model is kept to agents with other labels."""

    code = "misplaced-model"
    retryable = True


class CorruptModelError(InferenceError):
    """A model's files are not what its manifest says."""

    status = "DATA_LOSS"
    code = "corrupt-model"


class ModelSourceError(InferenceError):
    """A model's source cannot be read."""

    status = "UNAVAILABLE"
    code = "model-source"
    retryable = True


class UnsupportedModelError(InferenceError):
    """This server cannot run that model."""

    code = "unsupported-model"


class NoRoomError(InferenceError):
    """The model does not fit."""

    status = "RESOURCE_EXHAUSTED"
    code = "no-room"
    retryable = True


class ProviderError(InferenceError):
    """No execution provider can be used."""

    code = "provider"


class UnsupportedSchemaError(InferenceError):
    """The output schema uses something that cannot be held while decoding."""

    status = "INVALID_ARGUMENT"
    code = "unsupported-schema"


class InvalidGenerationError(InferenceError):
    """The request's settings are not valid."""

    status = "INVALID_ARGUMENT"
    code = "invalid-generation"


class PromptTooLongError(InferenceError):
    """The prompt and the answer do not fit the model's context."""

    status = "INVALID_ARGUMENT"
    code = "prompt-too-long"


class ModelCrashedError(InferenceError):
    """The model's process ended while it held the request."""

    status = "UNAVAILABLE"
    code = "model-crashed"
    retryable = True


_BY_CODE: dict[str, type[InferenceError]] = {
    error.code: error
    for error in (
        InferenceError,
        UnknownModelError,
        MisplacedModelError,
        CorruptModelError,
        ModelSourceError,
        UnsupportedModelError,
        NoRoomError,
        ProviderError,
        UnsupportedSchemaError,
        InvalidGenerationError,
        PromptTooLongError,
        ModelCrashedError,
    )
}


def error_from_code(code: str, message: str, remedy: str | None = None) -> InferenceError:
    """The error that a model's process reported; an unknown code becomes a plain `InferenceError`."""
    return _BY_CODE.get(code, InferenceError)(message, remedy=remedy)
