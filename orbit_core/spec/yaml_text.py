"""A document as the text of a cluster file, which `yaml_source` reads back to the same document.

PyYAML writes for readers of YAML 1.1, the format is read as YAML 1.2: what one takes for text the other may take for
a number. Which document a cluster is lives in the models and in `build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import yaml
from pydantic import JsonValue

from orbit_core.spec.yaml_source import reads_as_text

_WIDTH: Final = 110


def write(document: Mapping[str, JsonValue]) -> str:
    """Block style, keys in their order, texts of several lines as they stand."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True  # the same value twice is written twice: a file is for people


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if not reads_as_text(text) else "|" if _is_block(text) else None
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


def _is_block(text: str) -> bool:
    """Whether it may stand as a block of lines: its first one sets the indentation."""
    lines = text.split("\n")
    return len(lines) > 1 and all(line.isprintable() for line in lines) and bool(lines[0]) and not lines[0][0].isspace()


_Dumper.add_representer(str, _represent_text)
