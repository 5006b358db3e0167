"""Takes known secret values out of text and nested data, in the forms in which they usually leak.

The forms: as they are, in base64 (both alphabets, alone or inside something longer), URL-encoded, JSON-escaped, and
each longer line of a value that has several. A value of fewer than `MIN_CHARS` characters is left alone: taking every
"1" or "no" out of a log would ruin it and hide nothing. It holds values in memory, and logs nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote, quote_plus

REPLACEMENT: Final = "[redacted]"
MIN_CHARS: Final = 4
_ESCAPE: Final = re.compile("%[0-9A-F]{2}")
#: A line of a value of several lines is taken out by itself from this length on: shorter ones are braces and words.
LINE_MIN_CHARS: Final = 8


class Redactor:
    """For one set of values. Make it once per set: it compiles a pattern."""

    def __init__(self, values: Iterable[str]) -> None:
        # A value is hidden without the white space around it too: a file's last newline is rarely meant.
        known = {form for value in values for form in (value, value.strip()) if len(form.strip()) >= MIN_CHARS}
        forms = {form for value in known for form in _forms(value)}
        #: Longest first, so that at each place the longest form is taken out.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._first_characters = frozenset(form[0] for form in forms)
        # A look-ahead finds forms that overlap, too: none of them may be left behind in pieces.
        self._pattern = re.compile(f"(?=({'|'.join(map(re.escape, self._forms))}))") if forms else None

    def text(self, text: str) -> str:
        """`text` with every form of every value replaced."""
        spans = self._spans(text)
        if not spans:
            return text
        kept: list[str] = []
        at = 0
        for start, end in spans:
            kept.append(text[at:start])
            at = end
        return REPLACEMENT.join([*kept, text[at:]])

    def found_in(self, text: str) -> bool:
        """Whether any form of any value is in `text`."""
        return bool(self._spans(text))

    def data(self, data: Any) -> Any:
        """Nested JSON-like data with the text in it (keys too) redacted; other values are passed on."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, Mapping):
            return {self.data(key): self.data(value) for key, value in cast("Mapping[Any, Any]", data).items()}
        if isinstance(data, list | tuple):
            return [self.data(item) for item in cast("Sequence[Any]", data)]
        return data

    def stream(self) -> StreamRedactor:
        """For text that comes in pieces."""
        return StreamRedactor(self)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        """Where forms lie, overlapping and touching ones as one."""
        if self._pattern is None:
            return []
        spans: list[tuple[int, int]] = []
        for match in self._pattern.finditer(text):
            start, end = match.span(1)
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        return spans

    def undecided_from(self, text: str) -> int:
        """For `StreamRedactor`: from where on `text` may be the beginning of a form whose rest is still to come."""
        longest = len(self._forms[0]) if self._forms else 0
        cut = len(text)
        for start in range(max(0, len(text) - longest + 1), len(text)):
            if text[start] not in self._first_characters:
                continue
            tail = text[start:]
            if any(len(form) > len(tail) and form.startswith(tail) for form in self._forms):
                cut = start
                break
        for start, end in self._spans(text):
            if start < cut < end:
                return start  # a form that is whole already goes along with the one that may follow inside it
        return cut


class StreamRedactor:
    """Redacts text in pieces: what may be the start of a secret is held back until more text, or the end, decides."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be passed on now."""
        text = self._held + piece
        cut = self._redactor.undecided_from(text)
        self._held = text[cut:]
        return self._redactor.text(text[:cut])

    def flush(self) -> str:
        """The rest, at the end of the text."""
        text, self._held = self._held, ""
        return self._redactor.text(text)


def _forms(value: str) -> set[str]:
    urls = {quote(value, safe=""), quote(value), quote_plus(value)}
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= urls | {_ESCAPE.sub(lambda escape: escape.group().lower(), url) for url in urls}
    forms |= _base64_forms(value.encode())
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        forms |= {line for line in lines if len(line) >= LINE_MIN_CHARS}
    return {form for form in forms if len(form) >= MIN_CHARS}


def _base64_forms(raw: bytes) -> set[str]:
    """Base64 of the value alone, and what base64 makes of it inside something longer (as in a Basic login)."""
    forms: set[str] = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        forms |= {whole, whole.rstrip("=")}
        for before in range(3):
            # Three bytes become four characters; those at the ends depend on the neighbours too, and stay.
            inside = encode(bytes(before) + raw).decode()[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
            if len(inside) >= LINE_MIN_CHARS:
                forms.add(inside)
    return forms
