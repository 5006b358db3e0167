"""Forwards log records to New Relic (Log API)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from orbit_core.limits import KIB
from satellites.contract import Context, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput
from satellites.fields import TextValue
from satellites.http import outgoing

LOG_URLS: Final = {"us": "https://log-api.newrelic.com/log/v1", "eu": "https://log-api.eu.newrelic.com/log/v1"}
LEVELS: Final = ("debug", "info", "warning", "error")
#: New Relic takes 1 MB a request, compressed; uncompressed is the safe side of it.
REQUEST_MAX_BYTES: Final = 900 * KIB
MESSAGE_MAX_CHARS: Final = 32_000


def _level(value: Any) -> Any:
    return (
        {"warn": "warning", "critical": "error"}.get(value.lower(), value.lower()) if isinstance(value, str) else value
    )


class SendLogsToNewRelicConfig(SatelliteConfig):
    account_id: TextValue = Field(min_length=1)
    api_key: str = Field(min_length=1, description="A license key.")
    application_id: TextValue | None = None
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level)] = Field(
        default="info", description="Records below it are left out."
    )
    region: Literal["us", "eu"] = "us"
    url: str | None = Field(default=None, description="Instead of the region's, such as a stand-in's in a test.")


class SendLogsToNewRelicInput(SatelliteInput):
    records: list[dict[str, Any]] = Field(
        default_factory=list, description="Each with `time-ms`, `level` and `message`; other keys become attributes."
    )


class SendLogsToNewRelic(Satellite[SendLogsToNewRelicConfig, SendLogsToNewRelicInput]):
    """Output: `sent` and `left-out`, numbers of records. A record may arrive twice if an attempt breaks off between
    two requests; `orbit.invocation-id` and its own time tell such twins apart from others."""

    name = "satellite/exospherehost/send-logs-to-new-relic"
    aliases = ("satellite/orbit/send-logs-to-new-relic",)
    summary = "Forwards log records to New Relic"
    Config = SendLogsToNewRelicConfig
    Input = SendLogsToNewRelicInput
    resources = Resources(cpu=0.1, memory_bytes=192 * 1024 * 1024)
    timeout_s = 300.0
    effects = "outside"
    typical_s = 0.5

    async def run(
        self, config: SendLogsToNewRelicConfig, input: SendLogsToNewRelicInput, context: Context
    ) -> list[JsonObject]:
        lowest = LEVELS.index(config.log_level)
        wanted = [record for record in input.records if _rank(record) >= lowest]
        common = {
            "attributes": {
                "newrelic.account-id": config.account_id,
                "newrelic.application-id": config.application_id,
                "orbit.cluster": context.cluster,
                "orbit.run-id": context.run_id,
                "orbit.invocation-id": context.invocation_id,
            }
        }
        for batch in _batches([_entry(record) for record in wanted]):
            await outgoing.send(
                "POST",
                config.url or LOG_URLS[config.region],
                context,
                headers={"Content-Type": "application/json", "Content-Encoding": "gzip", "Api-Key": config.api_key},
                content=gzip.compress(json.dumps([{"common": common, "logs": batch}]).encode()),
            )
        return [{"sent": len(wanted), "left-out": len(input.records) - len(wanted)}]


def _rank(record: dict[str, Any]) -> int:
    """A record of no known level is worth sending."""
    level = _level(record.get("level"))
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _entry(record: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in record.items() if key not in ("time-ms", "message")}
    entry: dict[str, Any] = {"message": str(record.get("message", ""))[:MESSAGE_MAX_CHARS], "attributes": rest}
    if isinstance(record.get("time-ms"), int):
        entry["timestamp"] = record["time-ms"]
    return entry


def _batches(entries: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """In order, each small enough for one request."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        entry_size = len(json.dumps(entry)) + 2
        if batch and size + entry_size > REQUEST_MAX_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry_size
    if batch:
        yield batch
