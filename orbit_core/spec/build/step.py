"""`Step` and what it is made of. A field is a key of the format; None is a key that is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from orbit_core.errors import InvalidSpecError
from orbit_core.spec.build.plain import Duration, Secrets, Values, duration, plain, secrets
from orbit_core.spec.build.references import Ref
from orbit_core.spec.references import OutputReference, OutputsReference


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an attempt that failed is made again, and after how long."""

    max_retries: int | None = None
    backoff: Literal["exponential", "linear", "fixed"] | None = None
    delay: Duration | None = None
    max_delay: Duration | None = None
    jitter: Literal["full", "none"] | None = None

    def document(self) -> dict[str, JsonValue]:
        return _said(
            {
                "max-retries": self.max_retries,
                "backoff": self.backoff,
                "delay": _duration(self.delay),
                "max-delay": _duration(self.max_delay),
                "jitter": self.jitter,
            }
        )


@dataclass(frozen=True, slots=True)
class Resources:
    """What one attempt takes, over what the satellite declares. Memory as `"512Mi"` or in bytes."""

    cpu: float | str | None = None
    memory: str | int | None = None
    gpu: float | None = None
    gpu_memory: str | int | None = None
    accelerator: str | None = None

    def document(self) -> dict[str, JsonValue]:
        return _said(
            {
                "cpu": self.cpu,
                "memory": self.memory,
                "gpu": self.gpu,
                "gpu-memory": self.gpu_memory,
                "accelerator": self.accelerator,
            }
        )


@dataclass(frozen=True, slots=True)
class Gather:
    """A fan-in: one invocation for each object of `over` (a step, or `"run"`), once all lineages below it ended."""

    over: Step | str | None = None
    when: Literal["all-succeeded", "all-ended"] | None = None

    def document(self) -> dict[str, JsonValue]:
        return _said({"over": _identifier(self.over) if self.over is not None else None, "when": self.when})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: which satellite (`uses`), with what, after which steps.

    `needs`: steps or identifiers; None: the step before this one; `()`: none, it starts from the payload.
    `condition`: skipped where it is false; `f"{files.output['size']} > 0"`. `secrets`: what this step alone may read:
    names of the cluster's secrets, or the satellite's own names with a reference to each.
    """

    identifier: str
    uses: str
    config: Values = field(default_factory=dict[str, object])
    name: str | None = None
    input: Values | None = None
    needs: Step | str | Sequence[Step | str] | None = None
    gather: Gather | bool = False
    condition: Ref | str | bool | None = None
    secrets: Secrets = field(default=(), repr=False)
    retries: Retry | int | None = None
    delay: Duration | None = None
    timeout: Duration | None = None
    resources: Resources | None = None

    @property
    def output(self) -> Ref:
        """The object that this step returned on the lineage: `step.output["key"]`."""
        return Ref(OutputReference(self.identifier))

    @property
    def outputs(self) -> Ref:
        """At and after a fan-in: all objects of this step below its `over`."""
        return Ref(OutputsReference(self.identifier))

    def document(self, place: str) -> dict[str, JsonValue]:
        """What a file says of it. `place`: where it stands, for errors."""
        return {
            "uses": self.uses,
            "identifier": self.identifier,
            **_said(
                {
                    "name": self.name,
                    "needs": self._needs(),
                    "gather": self.gather.document() if isinstance(self.gather, Gather) else self.gather or None,
                    "if": str(self.condition) if isinstance(self.condition, Ref) else self.condition,
                    "config": self._config(f"{place}.config"),
                    "input": plain(self.input, f"{place}.input") if self.input is not None else None,
                    "retries": self.retries.document() if isinstance(self.retries, Retry) else self.retries,
                    "delay": _duration(self.delay),
                    "timeout": _duration(self.timeout),
                    "resources": self.resources.document() if self.resources else None,
                }
            ),
        }

    def _needs(self) -> JsonValue:
        if self.needs is None:
            return None
        if isinstance(self.needs, Step | str):
            return _identifier(self.needs)
        return [_identifier(each) for each in self.needs]

    def _config(self, place: str) -> JsonValue:
        readable = secrets(self.secrets)
        if readable and "secrets" in self.config:
            raise InvalidSpecError(
                f"{place} names secrets, and so does the step", remedy="say them once, in the step's `secrets`"
            )
        config = {key: plain(value, f'{place}["{key}"]') for key, value in self.config.items()}
        return {**config, **({"secrets": readable} if readable else {})} or None


def _identifier(step: Step | str) -> str:
    return step.identifier if isinstance(step, Step) else step


def _duration(value: Duration | None) -> str | None:
    return duration(value) if value is not None else None


def _said(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in values.items() if value is not None}
