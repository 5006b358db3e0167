"""The satellites that come with Orbit, in one list. Listed here rather than as entry points, so that a clone that
was never installed has them too. Only imports and the list live here."""

from __future__ import annotations

from typing import Final

from satellites.registry import SatelliteClass
from satellites.trial.echo import Echo
from satellites.trial.fail import Fail
from satellites.trial.sleep import Sleep

SATELLITES: Final[tuple[SatelliteClass, ...]] = (Echo, Fail, Sleep)
