"""What the format needs to know of satellites, so that `orbit_core` need not know `satellites`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, JsonValue

from orbit_core.spec.models import Resources, SatelliteRef


@dataclass(frozen=True, slots=True)
class SatelliteInfo:
    """What a satellite declares. `name`: its own full name, also where it was asked for by an alias.

    `secrets`: names that a step's `config.secrets` must hold. `typical_ms`: a first guess of one attempt's duration.
    `model_of`: the model that a config asks for; None where the satellite runs none. `install`: what an agent needs to
    offer it, empty where every agent does.
    """

    name: str
    timeout_ms: int
    config_model: type[BaseModel] | None = None
    input_model: type[BaseModel] | None = None
    resources: Resources = field(default_factory=Resources)
    secrets: tuple[str, ...] = ()
    deterministic: bool = False
    typical_ms: int = 1_000
    model_of: Callable[[Mapping[str, JsonValue]], str | None] | None = None
    install: str = ""


class Catalog(Protocol):
    """The satellites that there are."""

    def resolve(self, ref: SatelliteRef) -> SatelliteInfo | None:
        """The satellite, None where there is none of that name or version."""
        ...

    def names(self) -> Collection[str]:
        """All names that `resolve` knows, `satellite/<project>/<name>` each: for did-you-mean."""
        ...
