"""What several calls need to build their requests: file contents, request identifiers, enums by their words. Pure."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from orbit_core.errors import InvalidRequestError, LimitError
from orbit_core.limits import SPEC_MAX_BYTES


def content_of(file: str | Path | bytes, file_name: str) -> tuple[bytes, str]:
    """The bytes to send and the name for messages. Refuses what the coordinator would refuse for its size."""
    if isinstance(file, bytes):
        content, name = file, file_name or "cluster.yml"
    else:
        try:
            content, name = Path(file).read_bytes(), file_name or str(file)
        except OSError as error:
            raise InvalidRequestError(
                f"{file} cannot be read: {error.strerror}", remedy="name a cluster file"
            ) from error
    if len(content) > SPEC_MAX_BYTES:
        raise LimitError(
            f"{name} has {len(content)} bytes; a cluster file may have {SPEC_MAX_BYTES}",
            remedy="large texts belong into objects or files, not into the cluster file",
        )
    return content, name


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
