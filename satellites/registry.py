"""Which satellites there are: the built-in ones, and those of installed packages.

A package brings satellites through the entry point group `orbit.satellites`, one entry for each class:

    [project.entry-points."orbit.satellites"]
    translate = "acme_satellites.translate:Translate"

Looking a satellite up imports its module and nothing heavier: libraries such as boto3 are imported inside `run`.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import importlib.util
import inspect
import logging
from collections.abc import Iterable
from typing import Any, Final

from orbit_core.errors import NotFoundError
from satellites.contract import Requirement, Satellite

GROUP: Final = "orbit.satellites"
PREFIX: Final = "satellite/"

SatelliteClass = type[Satellite[Any, Any]]

_log = logging.getLogger(__name__)


class UnknownSatelliteError(NotFoundError):
    """There is no satellite of that name."""

    code = "unknown-satellite"


class Registry:
    """Satellites by name and alias. A name that is taken stays with whoever came first."""

    def __init__(self, classes: Iterable[SatelliteClass]) -> None:
        self._classes: dict[str, SatelliteClass] = {}
        self._aliases: dict[str, str] = {}
        for found in classes:
            self._add(found)

    def get(self, name: str) -> SatelliteClass:
        """The satellite that `satellite/<project>/<name>[@<version>]` stands for. Raises `UnknownSatelliteError`."""
        bare, _, version = name.partition("@")
        found = self._classes.get(self._aliases.get(bare, bare))
        if found is None:
            close = self.close_matches(bare)
            raise UnknownSatelliteError(
                f"there is no satellite {bare!r}",
                remedy=f"did you mean {' or '.join(close)}?" if close else "install the package that brings it",
            )
        if version and version != found.version:
            raise UnknownSatelliteError(
                f"there is no version {version!r} of {bare}", remedy=f"version {found.version} is installed"
            )
        return found

    def names(self) -> tuple[str, ...]:
        """Every satellite under its own name, in alphabetical order."""
        return tuple(sorted(self._classes))

    def runnable(self) -> tuple[str, ...]:
        """Those of `names` that have here what they need."""
        return tuple(name for name in self.names() if not missing(self._classes[name]))

    def all_names(self) -> tuple[str, ...]:
        """Aliases included."""
        return tuple(sorted({*self._classes, *self._aliases}))

    def close_matches(self, name: str) -> list[str]:
        """Names, aliases included, that someone who wrote `name` may have meant; the closest first."""
        bare = name.partition("@")[0]
        last = bare.rpartition("/")[2]
        known = self.all_names()
        # The project is the same for most: judging by whole names would make everything look alike.
        by_last = {known_name.rpartition("/")[2]: known_name for known_name in reversed(known)}
        close = difflib.get_close_matches(last, by_last, n=3, cutoff=0.7)
        return [by_last[match] for match in close]

    def _add(self, found: SatelliteClass) -> None:
        if found.name in self._classes or found.name in self._aliases:
            _log.warning("a second satellite calls itself %s and is left out: %r", found.name, found)
            return
        self._classes[found.name] = found
        for alias in found.aliases:
            if alias not in self._classes:
                self._aliases.setdefault(alias, found.name)


def missing(satellite: SatelliteClass) -> tuple[Requirement, ...]:
    """What a satellite needs and this installation lacks. Nothing is imported: a module may take seconds to load."""
    return tuple(each for each in satellite.requires if importlib.util.find_spec(each.module) is None)


@functools.cache
def installed() -> Registry:
    """Built-in satellites and those of installed packages, looked for once per process."""
    from satellites import builtin

    return Registry([*builtin.SATELLITES, *_from_entry_points()])


def get(name: str) -> SatelliteClass:
    """`installed().get(name)`."""
    return installed().get(name)


def names() -> tuple[str, ...]:
    """`installed().names()`."""
    return installed().names()


def _from_entry_points() -> Iterable[SatelliteClass]:
    """One that cannot be loaded is reported and left out: the others must go on working."""
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            found = entry.load()
        except Exception as error:
            _log.warning("the satellite %s (%s) cannot be loaded: %r", entry.name, entry.value, error)
            continue
        if inspect.isclass(found) and issubclass(found, Satellite) and not inspect.isabstract(found):
            yield found
        else:
            _log.warning("the entry point %s (%s) is not a satellite class", entry.name, entry.value)
