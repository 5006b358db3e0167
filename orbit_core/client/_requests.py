"""What several calls need to build their requests: request identifiers, enums by their words. Pure."""

from __future__ import annotations

import uuid
from typing import Any

from orbit_core.errors import InvalidRequestError


def request_id() -> str:
    """Makes a call that is tried again the same call."""
    return f"req-{uuid.uuid4().hex}"


def enum_of(kind: Any, prefix: str, word: str) -> Any:
    """`partially-succeeded` as its number. Raises `InvalidRequestError` for a word that is not a state."""
    try:
        return kind.Value(prefix + word.upper().replace("-", "_"))
    except ValueError:
        known = [name.removeprefix(prefix).lower().replace("_", "-") for name in kind.keys()[1:]]
        raise InvalidRequestError(f"{word!r} is not a state", remedy=f"states are {', '.join(known)}") from None
