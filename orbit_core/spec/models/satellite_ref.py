"""The name of a satellite: `satellite/<project>/<name>`, with `@<version>` where one is pinned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from orbit_core.ids import NAME_PATTERN
from orbit_core.spec.text_error import TextError

_EXPECTED = "satellite/<project>/<name>, optionally @<version>"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class SatelliteRef:
    """Which satellite a step uses. `str()` gives it as the file writes it."""

    project: str
    name: str
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.full_name}@{self.version}" if self.version else self.full_name

    @property
    def full_name(self) -> str:
        """`satellite/<project>/<name>`, whatever the version."""
        return f"satellite/{self.project}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> SatelliteRef:
        """Raises `TextError`."""
        name, at, version = text.partition("@")
        parts = name.split("/")
        if len(parts) == 2 and all(NAME_PATTERN.fullmatch(part) for part in parts):
            raise TextError("the prefix is missing", expected=_EXPECTED, suggestion=f"satellite/{text}")
        if len(parts) != 3 or parts[0] != "satellite":
            raise TextError("this does not name a satellite", expected=_EXPECTED)
        if not all(NAME_PATTERN.fullmatch(part) for part in parts[1:]):
            raise TextError("this cannot be a satellite's name", expected=_EXPECTED)
        if at and not _VERSION.fullmatch(version):
            raise TextError("this cannot be a version", offset=len(name) + 1, expected=_EXPECTED)
        return cls(parts[1], parts[2], version or None)


def _parse(value: Any) -> Any:
    return SatelliteRef.parse(value) if isinstance(value, str) else value


SatelliteRefField = Annotated[SatelliteRef, BeforeValidator(_parse), PlainSerializer(str, return_type=str)]
