"""`capacity.yml`: which machines can be bought, for how much, and the commands that buy them. Read once, at the start.

What is wrong with a file is said by field, all of it at once, with what would be right. What is bought is decided in
`sched.capacity`, and done by the coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from orbit_core.errors import FieldViolation, InvalidRequestError
from orbit_core.spec.durations import parse_duration_ms
from orbit_core.spec.quantities import parse_bytes
from orbit_core.spec.text_error import TextError


def _read_duration(value: Any) -> Any:
    try:
        return parse_duration_ms(str(value))
    except TextError as error:
        raise ValueError(f"{error}; write {error.expected}") from error


def _read_bytes(value: Any) -> Any:
    try:
        return parse_bytes(str(value))
    except TextError as error:
        raise ValueError(f"{error}; write {error.expected}") from error


DurationMs = Annotated[int, BeforeValidator(_read_duration), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(_read_bytes), Field(gt=0)]
Usd = Annotated[float, Field(ge=0, lt=1e6)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,61}$")]
CommandLine = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"))


class InstanceSpec(_Part):
    """What one machine has, as its agent will advertise it."""

    cpus: Annotated[float, Field(gt=0)]
    memory: Bytes
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    gpu_model: str = ""
    gpu_memory: Bytes | None = None
    #: The agent's `hardware` label: durations are learnt for each.
    hardware: str = ""
    #: The agent's `--slots`.
    slots: Annotated[int, Field(gt=0)] = 64
    #: Those that its agent offers; none named: whatever is needed.
    satellites: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _gpus_are_described(self) -> InstanceSpec:
        if self.gpus and not (self.gpu_model and self.gpu_memory):
            raise ValueError("with gpus, say gpu-model and gpu-memory too, as `orbit agents` shows them")
        return self


class PoolSpec(_Part):
    """One place where machines are sold. Prices in US dollars an hour; without `spot` only on-demand is sold there."""

    name: Name
    instance: InstanceSpec
    on_demand: Usd
    spot: Usd | None = None
    #: From the start command to an agent that takes work.
    restart: DurationMs


class CapacitySpec(_Part):
    """The file. `start`, `stop`, `list` and `prices` are command lines for `sh`, run in the file's folder."""

    #: A word in the machines' names; machines without it are not touched.
    name: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")] = "mesh"
    #: Machines at once, for all runs together.
    most: Annotated[int, Field(gt=0, le=1000)] = 4
    #: How often the market policy is asked.
    tick: DurationMs = 15_000
    #: What a command may take.
    timeout: DurationMs = 120_000
    #: How long a machine may finish what it runs before it is stopped all the same.
    drain: DurationMs = 120_000
    #: For how long a pool that had none, or took one away, counts as empty.
    retry: DurationMs = 300_000
    pools: Annotated[tuple[PoolSpec, ...], Field(min_length=1, max_length=32)]
    start: CommandLine
    stop: CommandLine
    list: CommandLine
    prices: CommandLine | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> CapacitySpec:
        names = [pool.name for pool in self.pools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two pools are called {twice[0]}")
        return self


@dataclass(frozen=True, slots=True)
class CapacityFile:
    """A file that was read: what it says, and the folder that its commands run in."""

    spec: CapacitySpec
    folder: Path


def read_capacity(path: Path) -> CapacityFile:
    """Raises InvalidRequestError, which names the file and each field that is wrong."""
    remedy = "docs/capacity.md shows what a capacity file says"
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is not YAML: {error}", remedy=remedy) from error
    try:
        spec = CapacitySpec.model_validate(document)
    except ValidationError as error:
        violations = [FieldViolation(_place(each["loc"]), _said(each["msg"])) for each in error.errors()]
        listed = "; ".join(f"{each.path}: {each.description}" for each in violations)
        raise InvalidRequestError(f"{path}: {listed}", violations=violations, remedy=remedy) from error
    return CapacityFile(spec, path.absolute().parent)


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the file"


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")
