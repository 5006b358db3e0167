"""The installed satellites as the cluster format looks them up."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

from pydantic import JsonValue, ValidationError

from orbit_core.spec.catalog import SatelliteInfo
from orbit_core.spec.models import Resources, SatelliteRef
from satellites.registry import Registry, SatelliteClass, UnknownSatelliteError, installed


class InstalledCatalog:
    """A `Catalog` of a registry; by default of every satellite that is installed here."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry or installed()

    def resolve(self, ref: SatelliteRef) -> SatelliteInfo | None:
        """What the satellite declares; None where it is not installed, or not in that version."""
        try:
            found = self._registry.get(str(ref))
        except UnknownSatelliteError:
            return None
        return _info(found)

    def names(self) -> Collection[str]:
        return self._registry.all_names()


def _info(found: SatelliteClass) -> SatelliteInfo:
    needs = found.resources

    def model_of(config: Mapping[str, JsonValue]) -> str | None:
        # A config whose references are open may not fit the model yet; then no model is known beforehand.
        with contextlib.suppress(ValidationError):
            return found.model_of(found.Config.model_validate(config))
        return None

    return SatelliteInfo(
        name=found.name,
        timeout_ms=round(found.timeout_s * 1000),
        config_model=found.Config,
        input_model=found.Input,
        resources=Resources(
            cpu=needs.cpu,
            memory_bytes=needs.memory_bytes,
            gpu=needs.gpu,
            gpu_memory_bytes=needs.gpu_memory_bytes,
            accelerator=needs.accelerator[0] if needs.accelerator else None,
        ),
        secrets=found.required_secrets,
        deterministic=found.deterministic,
        typical_ms=round(found.typical_s * 1000),
        model_of=model_of,
    )
