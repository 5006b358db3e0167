"""Gives back what it was given, or objects of one's own: the first step of a cluster that is being tried out."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from satellites.contract import Context, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput


class EchoConfig(SatelliteConfig):
    objects: list[dict[str, Any]] | None = Field(
        default=None, description="What to give; without it, the input comes back as the one object."
    )
    copies: int = Field(default=1, ge=0, le=1_000_000, description="How often to give it; each gets its `index`.")


class EchoInput(SatelliteInput, extra="allow"):
    """Anything."""


class Echo(Satellite[EchoConfig, EchoInput]):
    """Output: the input, or each of `objects`; with `copies` other than 1 also `index`, counted from 0."""

    name = "satellite/orbit/echo"
    summary = "Gives back its input, or the objects of its config"
    Config = EchoConfig
    Input = EchoInput
    resources = Resources(cpu=0.1, memory_bytes=128 * 1024 * 1024)
    timeout_s = 60.0
    deterministic = True
    typical_s = 0.05

    async def run(self, config: EchoConfig, input: EchoInput, context: Context):
        objects: list[JsonObject] = config.objects if config.objects is not None else [input.model_dump(by_alias=True)]
        for index in range(config.copies):
            for value in objects:
                yield value if config.copies == 1 else value | {"index": index}
