"""Data to standard output, in the form that was asked for. `json` and `yaml` are `orbit_core.client.to_json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import yaml
from rich.console import RenderableType
from rich.text import Text

from orbit_core.client import to_json
from tui.cli.session import Session


def emit(
    session: Session,
    value: Any,
    *,
    table: Callable[[Any], RenderableType],
    name: Callable[[Any], str],
) -> None:
    """One value, or a sequence of them. `name` is of one; `table` is of all that was given."""
    match session.output:
        case "json":
            session.out.file.write(json.dumps(to_json(value), indent=2, ensure_ascii=False) + "\n")
        case "yaml":
            # Through JSON: YAML's own notation for tuples is not for people.
            plain = json.loads(json.dumps(to_json(value)))
            session.out.file.write(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
        case "name":
            items: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
            session.out.file.writelines(f"{name(item)}\n" for item in items)
        case "table":
            shown = table(value)
            if isinstance(shown, str):
                shown = Text(shown)  # what looks like markup is text
            session.out.print(shown, soft_wrap=isinstance(shown, Text))


def emit_line(session: Session, value: Any) -> None:
    """One line of JSON, at once: for streams."""
    session.out.file.write(json.dumps(to_json(value), ensure_ascii=False) + "\n")
    session.out.file.flush()
