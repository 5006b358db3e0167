"""A catalog of made-up satellites for the tests of the format: the example's, and a few of no effect."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from orbit_core.spec.catalog import SatelliteInfo
from orbit_core.spec.models import SatelliteRef
from orbit_core.spec.schemas import parse_output_schema

_MINUTE_MS = 60_000


class _Config(BaseModel):
    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, alias_generator=lambda name: name.replace("_", "-")
    )


class ListFiles(_Config):
    bucket: Annotated[str, Field(min_length=3)]
    prefix: str = ""
    recursive: bool = False
    extension: str | None = None


class ParsePdf(_Config):
    language: str = "en"
    output_format: Literal["markdown-string", "text"] = "markdown-string"
    extract_images: bool = False


class Prompt(_Config):
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(gt=0)] = 1024
    output_format: Literal["text", "json"] = "text"
    output_schema: str | dict[str, JsonValue] | None = None

    @field_validator("output_schema")
    @classmethod
    def _reads(cls, schema: str | dict[str, JsonValue] | None) -> str | dict[str, JsonValue] | None:
        if schema is not None:
            parse_output_schema(schema)
        return schema


class PromptInput(BaseModel):
    prompt: str
    images: list[str] = Field(default_factory=list)


class Limits(_Config):
    attempts: Annotated[int, Field(ge=1)] = 1


class CallWebhook(_Config):
    url: str
    method: Literal["GET", "POST", "PUT"] = "POST"
    headers: list[dict[str, str]] | dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None
    limits: Limits = Field(default_factory=Limits)


class DeleteFile(_Config):
    bucket: str
    file_path: str


class SendLogs(_Config):
    account_id: str
    api_key: str
    application_id: str
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class MoveFile(_Config):
    origin_source: str
    origin_bucket: str
    origin_file_path: str
    destination_source: str
    destination_bucket: str
    destination_file_path: str


class Alert(_Config):
    pagerduty_api_key: str
    pagerduty_service_id: str


def _info(project_and_name: str, **fields: object) -> tuple[str, SatelliteInfo]:
    name = f"satellite/{project_and_name}"
    return name, SatelliteInfo(name=name, **{"timeout_ms": 5 * _MINUTE_MS, **fields})  # type: ignore[arg-type]


_SATELLITES = dict(
    [
        _info(
            "exospherehost/get-files-from-s3",
            config_model=ListFiles,
            secrets=("AWS_ACCESS_KEY", "AWS_SECRET_KEY"),
        ),
        _info("exospherehost/parse-pdf-with-docling", config_model=ParsePdf),
        _info("exospherehost/deepseek-r1-distrill-llama-70b", config_model=Prompt, input_model=PromptInput),
        _info("exospherehost/call-webhook", config_model=CallWebhook),
        _info("exospherehost/delete-file-from-s3", config_model=DeleteFile),
        _info("exospherehost/send-logs-to-new-relic", config_model=SendLogs),
        _info("exospherehost/move-file", config_model=MoveFile),
        _info("exospherehost/send-pagerduty-alert", config_model=Alert),
        _info("acme/any"),
        _info("acme/slow", timeout_ms=180 * _MINUTE_MS),
    ]
)


class FakeCatalog:
    """Each satellite has the version 1.2.0."""

    def resolve(self, ref: SatelliteRef) -> SatelliteInfo | None:
        return None if ref.version not in (None, "1.2.0") else _SATELLITES.get(ref.full_name)

    def names(self) -> Collection[str]:
        return tuple(_SATELLITES)
