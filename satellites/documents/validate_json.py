"""Checks an object against a schema and lets it pass, or says all that is wrong with it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from satellites.contract import (
    Context,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteInput,
)
from satellites.schemas import problems, read_schema

_PROBLEMS_SHOWN: Final = 20


class ValidateJsonConfig(SatelliteConfig):
    schema_: Annotated[dict[str, Any], BeforeValidator(read_schema)] = Field(
        alias="schema", description="JSON Schema, or the short form of output schemas."
    )
    key: str | None = Field(default=None, description="Check the value of this key instead of the whole object.")
    parse: bool = Field(default=False, description="With `key`: its value is JSON as text, and is parsed first.")


class ValidateJsonInput(SatelliteInput, extra="allow"):
    """The object that is checked."""


class ValidateJson(Satellite[ValidateJsonConfig, ValidateJsonInput]):
    """Output: the input as it came; with `parse`, the parsed value stands under `key`. What does not fit fails
    permanently, and the error names each place: `$.lines[2].net: 'a lot' is not of type 'number'`."""

    name = "satellite/exospherehost/validate-json"
    aliases = ("satellite/orbit/validate-json",)
    summary = "Checks an object against a schema"
    Config = ValidateJsonConfig
    Input = ValidateJsonInput
    resources = Resources(cpu=0.1, memory_bytes=192 * 1024 * 1024)
    timeout_s = 60.0
    deterministic = True
    typical_s = 0.05

    async def run(self, config: ValidateJsonConfig, input: ValidateJsonInput, context: Context) -> list[JsonObject]:
        given = input.model_dump(by_alias=True)
        if config.key is None:
            value: Any = given
        else:
            if config.key not in given:
                raise PermanentError(f"there is no key {config.key!r} in the input", code="invalid-json")
            value = _parsed(given[config.key], config.key) if config.parse else given[config.key]
            given = given | {config.key: value}
        found = problems(config.schema_, value)
        if found:
            more = f"; and {len(found) - _PROBLEMS_SHOWN} more" if len(found) > _PROBLEMS_SHOWN else ""
            raise PermanentError("; ".join(found[:_PROBLEMS_SHOWN]) + more, code="invalid-json")
        return [given]


def _parsed(value: Any, key: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise PermanentError(f"the text under {key!r} is not JSON: {error}", code="invalid-json") from error
