"""The installed satellites as the cluster format asks for them (`orbit_core.spec.catalog.Catalog`)."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from orbit_core.spec.catalog import SatelliteInfo
from orbit_core.spec.models import Resources, SatelliteRef
from orbit_core.spec.references import holds_reference
from satellites import registry
from satellites.contract import Resources as Declared
from satellites.registry import Registry, SatelliteClass, UnknownSatelliteError

_MS_PER_S: Final = 1_000


class InstalledCatalog:
    """A `Catalog` over a registry; by default, over what is installed here."""

    def __init__(self, known: Registry | None = None) -> None:
        self._known = known or registry.installed()

    def resolve(self, ref: SatelliteRef) -> SatelliteInfo | None:
        try:
            found = self._known.get(str(ref))
        except UnknownSatelliteError:
            return None
        return _info(found)

    def names(self) -> Collection[str]:
        """Aliases included."""
        return self._known.all_names()


def _info(satellite: SatelliteClass) -> SatelliteInfo:
    return SatelliteInfo(
        name=satellite.name,
        timeout_ms=round(satellite.timeout_s * _MS_PER_S),
        config_model=satellite.Config,
        input_model=satellite.Input,
        resources=_resources(satellite.resources),
        secrets=satellite.required_secrets,
        deterministic=satellite.deterministic,
        typical_ms=round(satellite.typical_s * _MS_PER_S),
        model_of=functools.partial(_model_of, satellite),
        install=", ".join(dict.fromkeys(each.install for each in satellite.requires)),
    )


def _resources(declared: Declared) -> Resources:
    return Resources(
        cpu=declared.cpu,
        memory_bytes=declared.memory_bytes,
        gpu=declared.gpu,
        gpu_memory_bytes=declared.gpu_memory_bytes,
        accelerator=declared.accelerator[0] if declared.accelerator else None,
    )


def _model_of(satellite: SatelliteClass, config: Mapping[str, JsonValue]) -> str | None:
    """The model that an invocation with this config loads, as far as it can be told before references are known."""
    known = {key: value for key, value in config.items() if key != "secrets" and not holds_reference(value)}
    try:
        return satellite.model_of(satellite.Config.model_validate(known))
    except ValidationError:
        named = known.get("model")
        return named if isinstance(named, str) else None
