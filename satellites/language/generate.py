"""The language model as a satellite: any model that the mesh knows, answering in text or in JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from orbit_core.spec.verbatim import check_verbatim
from satellites.contract import (
    Context,
    GenerateCall,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteInput,
)
from satellites.language import answers
from satellites.requirements import MODELS
from satellites.schemas import holdable, read_schema

#: Where a step asks for JSON and does not say what it should look like.
ANY_OBJECT: Final[dict[str, Any]] = {"type": "object"}


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class GenerationConfig(SatelliteConfig):
    """What the presets take: everything, and the model too if they shall use another."""

    model: str | None = Field(default=None, description="The name under which the mesh knows it.")
    system: str | None = Field(default=None, description="Goes before the prompt, as the system's message.")
    temperature: float = Field(default=0.0, ge=0, le=2, description="0: always the most likely token.")
    max_tokens: int = Field(default=1_024, ge=1, le=1_000_000, description="Of the answer.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Draw from the likeliest tokens of that mass.")
    top_k: int = Field(default=0, ge=0, description="Draw from that many of the likeliest tokens; 0: from all.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="The same one gives the same answer.")
    stop: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(), description="Text that ends the answer; for text only."
    )
    output_format: Literal["text", "json"] | None = Field(
        default=None, description="Without it: `json` where there is an output-schema, else `text`."
    )
    output_schema: Annotated[dict[str, Any], BeforeValidator(read_schema), AfterValidator(holdable)] | None = Field(
        default=None, description="JSON Schema, or the short form. The answer is held to it while it is made."
    )
    verbatim: Annotated[tuple[str, ...], BeforeValidator(_texts)] = Field(
        default=(),
        description="Properties of output-schema (texts) whose value must be words of the prompt, as they stand there.",
    )
    schema_in_prompt: bool = Field(
        default=False, description="Also show the schema to the model, at the end of the system's message."
    )
    max_reprompts: int = Field(default=1, ge=0, le=10, description="Times to ask again with what is wrong.")
    escalate_to: str | None = Field(
        default=None, min_length=1, description="For JSON: the model that is asked when this one's answers stay wrong."
    )
    context_overflow: Literal["error", "truncate"] = Field(
        default="error", description="What to do with a prompt that is too long for the model."
    )

    @model_validator(mode="after")
    def _schema_is_for_json(self) -> GenerationConfig:
        if self.output_format == "text" and self.output_schema is not None:
            raise ValueError("`output-schema` needs `output-format: json`")
        if self.verbatim:
            check_verbatim(self.output_schema or {}, self.verbatim)
        if self.stop and self.wants_json:
            raise ValueError("`stop` is for text: JSON ends where its schema does")
        if self.escalate_to is not None and not self.wants_json:
            raise ValueError("`escalate-to` is for JSON: no text is known to be wrong")
        if self.escalate_to is not None and self.escalate_to == self.model:
            raise ValueError("`escalate-to` names the very model that is asked first")
        return self

    @property
    def wants_json(self) -> bool:
        return self.output_format == "json" or (self.output_format is None and self.output_schema is not None)


class GenerateConfig(GenerationConfig):
    # Narrower than the base's; nobody assigns to a frozen model, so nothing can go wrong with it.
    model: str = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        min_length=1, description="The name under which the mesh knows it."
    )


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


class GenerateInput(SatelliteInput):
    prompt: str | None = Field(default=None, min_length=1, description="What the user says; or `messages`.")
    messages: tuple[Message, ...] | None = Field(
        default=None,
        min_length=1,
        description="A conversation: each has a `role` (system, user, assistant) and `content`.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> GenerateInput:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give `prompt` or `messages`, one of the two")
        return self


class Generate(Satellite[GenerationConfig, GenerateInput]):
    """Output: for text `text`, with `truncated: true` where max-tokens cut it off. For JSON the answer itself, so that
    `.output.company` works; an answer that is not an object stands under `value`.

    Errors: `truncated` (JSON cut off by max-tokens), `invalid-output` (does not fit the schema even when asked again,
    and where `escalate-to` names one, not that of the larger model either). Every question's tokens are counted.
    """

    name = "satellite/orbit/generate"
    aliases = ("satellite/exospherehost/generate",)
    summary = "Asks a language model"
    Config: ClassVar[type[BaseModel]] = GenerateConfig
    Input = GenerateInput
    requires = MODELS
    #: The model itself runs in a process of its own, which is accounted for apart.
    resources = Resources(cpu=1.0, memory_bytes=256 * 1024 * 1024)
    timeout_s = 900.0
    covariate = "tokens"
    typical_s = 10.0

    #: The model of a config that names none.
    default_model: ClassVar[str | None] = None

    @classmethod
    def model_of(cls, config: BaseModel) -> str | None:
        assert isinstance(config, GenerationConfig)
        return config.model or cls.default_model

    async def run(self, config: GenerationConfig, input: GenerateInput, context: Context) -> list[JsonObject]:
        model = self.model_of(config)
        if model is None:
            raise PermanentError("config.model names no model", code="invalid-config")
        call = GenerateCall(
            model=model,
            messages=_messages(config, input),
            max_new_tokens=config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=config.top_k,
            seed=config.seed,
            json_schema=_schema(config),
            verbatim=config.verbatim,
            stop=config.stop,
            context_overflow=config.context_overflow,
        )
        if config.wants_json:
            value = await answers.ask_for_json(
                call, context, reprompts=config.max_reprompts, escalate_to=config.escalate_to
            )
            return [value if isinstance(value, dict) else {"value": value}]
        generated = await answers.ask(call, context)
        result: JsonObject = {"text": generated.text}
        return [result | {"truncated": True} if generated.finish == "length" else result]


def _schema(config: GenerationConfig) -> dict[str, Any] | None:
    return (config.output_schema or ANY_OBJECT) if config.wants_json else None


def _messages(config: GenerationConfig, input: GenerateInput) -> list[dict[str, str]]:
    system = config.system or ""
    if config.schema_in_prompt and config.wants_json:
        schema = json.dumps(_schema(config), ensure_ascii=False)
        system = f"{system}\n\nAnswer with JSON that fits this JSON Schema:\n{schema}".strip()
    asked = [message.model_dump() for message in input.messages or ()]
    if input.prompt is not None:
        asked.append({"role": "user", "content": input.prompt.strip()})
    return [{"role": "system", "content": system}, *asked] if system else asked
