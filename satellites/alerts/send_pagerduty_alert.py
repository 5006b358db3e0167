"""Raises an incident at PagerDuty (Events API v2)."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import Field

from satellites.contract import Context, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput
from satellites.http import outgoing

ENQUEUE_URL: Final = "https://events.pagerduty.com/v2/enqueue"
#: PagerDuty's own limit for the line that is shown; the whole message goes into the details.
SUMMARY_MAX_CHARS: Final = 1_024


class SendPagerdutyAlertConfig(SatelliteConfig):
    pagerduty_api_key: str = Field(min_length=1, description="The integration (routing) key of the service.")
    pagerduty_service_id: str | None = Field(default=None, description="Shown in the details.")
    severity: Literal["critical", "error", "warning", "info"] = "error"
    source: str | None = Field(default=None, description="Without it, the cluster's identifier.")
    url: str = Field(default=ENQUEUE_URL, description="Of PagerDuty's EU region, or of what stands for it in a test.")


class SendPagerdutyAlertInput(SatelliteInput):
    message: str = Field(min_length=1)


class SendPagerdutyAlert(Satellite[SendPagerdutyAlertConfig, SendPagerdutyAlertInput]):
    """Output: `dedup-key` and PagerDuty's `status`. However often it is attempted, one invocation raises one incident:
    its id is the `dedup_key`."""

    name = "satellite/exospherehost/send-pagerduty-alert"
    aliases = ("satellite/orbit/send-pagerduty-alert",)
    summary = "Raises an incident at PagerDuty"
    Config = SendPagerdutyAlertConfig
    Input = SendPagerdutyAlertInput
    resources = Resources(cpu=0.1, memory_bytes=192 * 1024 * 1024)
    timeout_s = 120.0
    effects = "outside"
    typical_s = 0.5

    async def run(
        self, config: SendPagerdutyAlertConfig, input: SendPagerdutyAlertInput, context: Context
    ) -> list[JsonObject]:
        answer = await outgoing.send(
            "POST",
            config.url,
            context,
            headers={"Content-Type": "application/json"},
            content=json.dumps(_event(config, input.message.strip(), context), ensure_ascii=False).encode(),
        )
        body = answer.value()
        status = body.get("status", "") if isinstance(body, dict) else ""
        return [{"dedup-key": context.invocation_id, "status": status}]


def _event(config: SendPagerdutyAlertConfig, message: str, context: Context) -> dict[str, Any]:
    first_line = " ".join(message.split())
    short = first_line if len(first_line) <= SUMMARY_MAX_CHARS else first_line[: SUMMARY_MAX_CHARS - 1] + "…"
    details = {"message": message, "cluster": context.cluster, "run": context.run_id, "step": context.step}
    if config.pagerduty_service_id:
        details["pagerduty-service-id"] = config.pagerduty_service_id
    return {
        "routing_key": config.pagerduty_api_key,
        "event_action": "trigger",
        "dedup_key": context.invocation_id,
        "client": "Orbit",
        "payload": {
            "summary": short or "a cluster failed",
            "source": config.source or context.cluster,
            "severity": config.severity,
            "component": context.step,
            "group": context.cluster,
            "custom_details": details,
        },
    }
