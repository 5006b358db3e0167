"""Sends one HTTP request to a service of the user's: how results leave Orbit."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from satellites.contract import Context, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput
from satellites.fields import Merged, Seconds, TextValue
from satellites.http import outgoing

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _statuses(value: Any) -> Any:
    return [value] if isinstance(value, int) else value


class CallWebhookConfig(SatelliteConfig):
    url: str = Field(min_length=1, description="http or https.")
    method: Annotated[Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], BeforeValidator(_upper)] = (
        "POST"
    )
    headers: Annotated[dict[str, TextValue], Merged] = Field(
        default_factory=dict, description="A map, or a list of maps. `Idempotency-Key` is Orbit's own."
    )
    body: Annotated[dict[str, Any] | str | None, Merged] = Field(
        default=None, description="A map, or a list of maps that are merged: sent as JSON. Text is sent as it is."
    )
    json_: Any = Field(default=None, alias="json", description="Any value, sent as JSON just as it stands.")
    timeout: Seconds = Field(default=30.0, description="For the whole exchange.")
    expected_status: Annotated[tuple[int, ...] | None, BeforeValidator(_statuses)] = Field(
        default=None, description="One, or a list; without it, any 2xx."
    )

    @field_validator("headers")
    @classmethod
    def _well_formed(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a header")
            if name.lower() == outgoing.IDEMPOTENCY_KEY.lower():
                raise ValueError(f"{outgoing.IDEMPOTENCY_KEY} is set by Orbit, the same at each attempt")
            if re.search(r"[\r\n\0]", value):
                raise ValueError(f"the value of {name} holds a line break")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> CallWebhookConfig:
        if self.body is not None and self.json_ is not None:
            raise ValueError("give `body` or `json`, not both")
        return self


class CallWebhookInput(SatelliteInput, extra="allow"):
    """Anything: sent as JSON where the config has neither `body` nor `json`."""


class CallWebhook(Satellite[CallWebhookConfig, CallWebhookInput]):
    """Output: `status`, and `body` (parsed where it is JSON, text otherwise; at most 1 MiB, with `truncated: true`
    where it was longer).

    Every attempt carries the same `Idempotency-Key`. 5xx, 408, 425, 429, time-outs and broken connections may pass
    and are tried again; every other unexpected status is permanent. Redirects are not followed.
    """

    name = "satellite/exospherehost/call-webhook"
    aliases = ("satellite/orbit/call-webhook",)
    summary = "Sends an HTTP request"
    Config = CallWebhookConfig
    Input = CallWebhookInput
    resources = Resources(cpu=0.1, memory_bytes=192 * 1024 * 1024)
    timeout_s = 120.0
    effects = "outside"
    typical_s = 0.5

    async def run(self, config: CallWebhookConfig, input: CallWebhookInput, context: Context) -> list[JsonObject]:
        headers, content = _encoded(config, input)
        answer = await outgoing.send(
            config.method,
            config.url.strip(),
            context,
            headers=headers,
            content=content,
            timeout_s=config.timeout,
            expected=config.expected_status,
        )
        result: JsonObject = {"status": answer.status, "body": answer.value()}
        return [result | {"truncated": True} if answer.truncated else result]


def _encoded(config: CallWebhookConfig, input: CallWebhookInput) -> tuple[dict[str, str], bytes | None]:
    """Headers and content; a `Content-Type` that the config gives wins."""
    value = config.json_ if config.json_ is not None else config.body
    if value is None:
        if config.method in _WITHOUT_BODY:
            return config.headers, None
        value = input.model_dump(by_alias=True)
    if isinstance(value, str) and config.json_ is None:
        content, media_type = value, "text/plain; charset=utf-8"
    else:
        content, media_type = json.dumps(value, ensure_ascii=False), "application/json"
    given = {name.lower() for name in config.headers}
    headers = config.headers if "content-type" in given else {**config.headers, "Content-Type": media_type}
    return headers, content.encode()
