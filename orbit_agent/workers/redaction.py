"""Takes known secret values out of text and of JSON values. Knows nothing of where the values come from."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "[secret]"
#: Shorter values are left alone: they would turn up in unrelated text, and guard nothing.
MIN_CHARS: Final = 4
LINE_MIN_CHARS: Final = 16


class Redactor:
    """Replaces the values it was given, also as they look inside JSON, a URL or base64."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form for value in values if len(value.strip()) >= MIN_CHARS for form in _forms(value)}
        # The longest first: one secret may be the beginning of another.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern is not None else text

    def found_in(self, text: str) -> bool:
        return self._pattern is not None and self._pattern.search(text) is not None

    def value(self, value: Any) -> Any:
        """The same JSON value with every string, keys included, redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _forms(value: str) -> Iterable[str]:
    yield value
    yield value.strip()
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
    yield base64.b64encode(value.encode("utf-8", errors="replace")).decode()
    # Output is read line by line: a key of many lines must be known by each.
    yield from (line.strip() for line in value.splitlines() if len(line.strip()) >= LINE_MIN_CHARS)
