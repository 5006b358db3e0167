"""From the place of a problem in a file to its place among Python objects. Pure.

cluster.satellites[2].config["odd key"]   →   steps[2].config["odd key"]
cluster.trigger[0].s3-upload.bucket       →   triggers[0].bucket
cluster.failure.satellites[1].max-delay   →   failure.steps[1].max_delay
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from orbit_core.spec.references import Access

_PART = re.compile(r"(?:^|\.)(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\[(?P<index>\d+)\]|\[(?P<key>\"(?:[^\"\\]|\\.)*\")\]")
_NAMES: Final = {
    "trigger": "triggers",
    "satellites": "steps",
    "if": "condition",
    "from": "from_step",
    "budget": "budget_usd",
    "cluster-finished": "cluster",
    "cron": "expression",
}
#: What lies below these is the user's own: kept as it is, as a subscript.
_OPEN: Final = ("config", "input", "secrets")


def python_path(path: str) -> str:
    """`path` as Python reaches it from the `Cluster`; what is not a path of a file stays as it is."""
    parts = list(_parts(path))
    if not parts or parts[0] != "cluster":
        return path
    shown, is_open, rest = "", False, _without_wrappers(parts[1:])
    for part in rest:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif is_open:
            shown += f"[{json.dumps(part, ensure_ascii=False)}]"
        else:
            name = _NAMES.get(part, part.replace("-", "_"))
            shown += f".{name}" if shown else name
            is_open = part in _OPEN
    return shown


def _without_wrappers(parts: list[Access]) -> list[Access]:
    """`parts` without the keys that objects have no part for."""
    match parts:
        case ["trigger", int() as index, "s3-upload" | "webhook" | "api-call", *rest]:
            return ["trigger", index, *rest]
        case ["logs", "satellites", *rest]:
            return _with_own_secrets(["logs"], rest)
        case ["failure", "satellites", *rest]:
            return _with_own_secrets(["failure", "satellites"], rest)
        case ["satellites", *rest]:
            return _with_own_secrets(["satellites"], rest)
        case _:
            return parts


def _with_own_secrets(block: list[Access], inside: list[Access]) -> list[Access]:
    """A step's secrets stand in its config in a file, beside it here."""
    match inside:
        case [int() as index, "config", "secrets", *rest]:
            return [*block, index, "secrets", *rest]
        case _:
            return [*block, *inside]


def _parts(path: str) -> Iterator[Access]:
    end = 0
    while end < len(path):
        part = _PART.match(path, end)
        if part is None:
            return
        end = part.end()
        if part["name"]:
            yield part["name"]
        else:
            yield int(part["index"]) if part["index"] else str(json.loads(part["key"]))
