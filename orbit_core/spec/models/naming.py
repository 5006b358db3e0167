"""The name of a cluster: `<project>/<name>`, written with or without the prefix `cluster/`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Strict

from orbit_core.ids import NAME_PATTERN
from orbit_core.spec.text_error import TextError

CLUSTER_NAME_EXPECTED = "<project>/<name>, each of lower-case letters, digits, `-`, `_` and `.`"


def cluster_name(text: str) -> str:
    """`text` without the prefix. Raises `TextError`."""
    parts = text.removeprefix("cluster/").split("/")
    if len(parts) == 2 and all(NAME_PATTERN.fullmatch(part) for part in parts):
        return "/".join(parts)
    lower = text.lower().replace(" ", "-")
    fixed = lower.removeprefix("cluster/").split("/")
    fits = len(fixed) == 2 and all(NAME_PATTERN.fullmatch(part) for part in fixed)
    raise TextError(
        "this cannot be a cluster's identifier",
        expected=CLUSTER_NAME_EXPECTED,
        suggestion=lower if fits else None,
    )


def _parse(value: Any) -> Any:
    return cluster_name(value) if isinstance(value, str) else value


ClusterName = Annotated[str, Strict(), BeforeValidator(_parse)]
