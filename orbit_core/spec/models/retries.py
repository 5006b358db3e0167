"""How often, and after how long, an attempt that failed is made again. Pure: the draw is handed in."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from orbit_core.limits import RETRIES_MAX
from orbit_core.spec.models.base import DurationMs, Model, Whole

Backoff: TypeAlias = Literal["exponential", "linear", "fixed"]
Jitter: TypeAlias = Literal["full", "none"]

_DOUBLINGS_MAX = 40  # 2**40 times any delay is over every maximum: no need for larger numbers


class RetryPolicy(Model):
    """How often an attempt that failed is made again, and after how long. A number alone is `max-retries`."""

    max_retries: Annotated[Whole, Field(ge=0, le=RETRIES_MAX)] = 5
    """Retries after the first attempt: N mean N + 1 attempts. An error that is permanent is not retried."""
    backoff: Backoff = "exponential"
    """How the delay grows: doubled each time, by `delay` each time, or not at all."""
    delay_ms: DurationMs = 2_000
    """The delay before the first retry."""
    max_delay_ms: DurationMs = 300_000
    """No delay is longer than this."""
    jitter: Jitter = "full"
    """Whether a delay is drawn evenly from between nothing and its full length."""

    @property
    def attempts(self) -> int:
        return self.max_retries + 1

    def delay_ms_for(self, attempt: int, draw: float) -> int:
        """How long to wait after attempt number `attempt` (from 1) has failed, with a `draw` from [0, 1).

        Full jitter spreads evenly over the whole delay (Brooker, "Exponential Backoff And Jitter", 2015).
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not from {attempt}")
        if not 0 <= draw < 1:
            raise ValueError(f"a draw lies in [0, 1), unlike {draw}")
        if self.backoff == "exponential":
            factor = 2 ** min(attempt - 1, _DOUBLINGS_MAX)
        else:
            factor = attempt if self.backoff == "linear" else 1
        delay_ms = min(self.delay_ms * factor, self.max_delay_ms)
        return int(delay_ms * draw) if self.jitter == "full" else delay_ms

    def over(self, base: RetryPolicy) -> RetryPolicy:
        """This policy where it says something, `base` where it does not."""
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})
