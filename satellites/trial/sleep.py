"""Takes its time and gives back what it was given: to see what a mesh does with work that lasts."""

from __future__ import annotations

import asyncio

from pydantic import Field

from satellites.contract import Context, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput


class SleepConfig(SatelliteConfig):
    seconds: float = Field(default=1.0, ge=0, le=86_400)


class SleepInput(SatelliteInput, extra="allow"):
    """Anything."""


class Sleep(Satellite[SleepConfig, SleepInput]):
    """Output: the input."""

    name = "satellite/orbit/sleep"
    summary = "Waits for so many seconds, then gives back its input"
    Config = SleepConfig
    Input = SleepInput
    resources = Resources(cpu=0.1, memory_bytes=128 * 1024 * 1024)
    timeout_s = 3_600.0
    deterministic = True
    typical_s = 1.0

    async def run(self, config: SleepConfig, input: SleepInput, context: Context) -> list[JsonObject]:
        await asyncio.sleep(config.seconds)
        return [input.model_dump(by_alias=True)]
