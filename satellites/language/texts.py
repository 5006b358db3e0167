"""What the satellites over encoders share: their declarations and settings, one text or several as input, and how many
go at once. What is made of a text is the satellites' own business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from satellites.contract import (
    Context,
    InputT,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteInput,
    Usage,
)
from satellites.fields import as_text
from satellites.requirements import MODELS

#: Texts of one call to a model: many calls share its batches anyway, and an answer must fit into memory.
CALL_MAX_TEXTS: Final = 256

T = TypeVar("T")


class EncoderConfig(SatelliteConfig):
    model: str = Field(min_length=1, description="The name under which the mesh knows it.")
    context_overflow: Literal["truncate", "error"] = Field(
        default="truncate", description="What to do with a text that is too long for the model: cut its end, or fail."
    )


EncoderConfigT = TypeVar("EncoderConfigT", bound=EncoderConfig)


class OverEncoder(Satellite[EncoderConfigT, InputT]):
    """Base of satellites that ask one encoder."""

    requires = MODELS
    #: The model itself runs in a process of its own, which is accounted for apart.
    resources = Resources(cpu=0.5, memory_bytes=256 * 1024 * 1024)
    timeout_s = 900.0
    covariate = "input-bytes"
    typical_s = 1.0

    @classmethod
    def model_of(cls, config: BaseModel) -> str | None:
        assert isinstance(config, EncoderConfig)
        return config.model


class TextsInput(SatelliteInput):
    """One text, or several that are answered together."""

    text: Annotated[str, BeforeValidator(as_text)] | None = Field(default=None, description="One text; or `texts`.")
    texts: tuple[Annotated[str, BeforeValidator(as_text)], ...] | None = Field(
        default=None, description="Several, answered in their order."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> TextsInput:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give `text` or `texts`, one of the two")
        return self

    @property
    def all(self) -> tuple[str, ...]:
        return self.texts if self.texts is not None else (self.text or "",)


def parts(items: Sequence[T]) -> list[Sequence[T]]:
    """The items in parts that one call may hold."""
    return [items[at : at + CALL_MAX_TEXTS] for at in range(0, len(items), CALL_MAX_TEXTS)]


def count(context: Context, input_tokens: int) -> None:
    """Adds to what the attempt has used; encoders make no tokens."""
    context.usage.append(Usage(input_tokens, 0))


def cut(result: JsonObject, truncated: bool) -> JsonObject:
    """The result, marked where a text did not fit the model."""
    return result | {"truncated": True} if truncated else result


def wrong_model(model: str, found: str, wanted: str) -> PermanentError:
    return PermanentError(f"{model} is {found}: this step needs {wanted}", code="wrong-model")
