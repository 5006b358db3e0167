"""Fails on purpose: to see retries, failure steps and alerts at work before something real breaks."""

from __future__ import annotations

import hashlib

from pydantic import Field

from satellites.contract import (
    Context,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteError,
    SatelliteInput,
)


class FailConfig(SatelliteConfig):
    message: str = "failed on purpose"
    permanent: bool = Field(default=False, description="True: no retry is spent on it.")
    attempts: int | None = Field(
        default=None, ge=0, description="Fail that many attempts of each invocation, then succeed."
    )
    odds: float | None = Field(
        default=None, ge=0, le=1, description="Fail this share of attempts; the same ones whenever it is run."
    )


class FailInput(SatelliteInput, extra="allow"):
    """Anything."""


class Fail(Satellite[FailConfig, FailInput]):
    """Output, where it does not fail: the input. Without `attempts` and `odds` it always fails."""

    name = "satellite/orbit/fail"
    summary = "Fails: always, for some attempts, or with given odds"
    Config = FailConfig
    Input = FailInput
    resources = Resources(cpu=0.1, memory_bytes=128 * 1024 * 1024)
    timeout_s = 60.0
    typical_s = 0.05

    async def run(self, config: FailConfig, input: FailInput, context: Context) -> list[JsonObject]:
        if _fails(config, context):
            kind = PermanentError if config.permanent else SatelliteError
            raise kind(config.message, code="on-purpose")
        return [input.model_dump(by_alias=True)]


def _fails(config: FailConfig, context: Context) -> bool:
    if config.attempts is not None and context.attempt > config.attempts:
        return False
    if config.odds is None:
        return True
    # From the invocation, not from chance: a failure that was seen can be seen again.
    draw = hashlib.blake2b(f"{context.invocation_id}\0{context.attempt}".encode(), digest_size=6).digest()
    return int.from_bytes(draw, "big") / 2**48 < config.odds
