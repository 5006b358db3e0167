"""A batch file, line by line: each line becomes an entry of a page, or an entry that says what is wrong with it.

    {"line": 3, "custom_id": "a", "url": "/v1/embeddings", "body": {…}}
    {"line": 4, "custom_id": null, "error": {"code": …, "message": …, "param": …, "status": null}}

A bad line never ends the reading: it is answered with its error. Lines are counted from 1; blank ones are passed over.
Custom ids are remembered on disk, in a file that the system removes by itself: memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Final, TypedDict, cast

from orbit_core.batch import requests
from orbit_core.batch.requests import RequestError
from orbit_core.limits import BATCH_ID_MAX_CHARS, BATCH_LINE_MAX_BYTES, MIB

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SHOWN_CHARS: Final = 80


class LineError(TypedDict):
    """Why a line cannot be answered. `status`: HTTP's, for a body that an endpoint would refuse; else None."""

    code: str
    message: str
    param: str | None
    status: int | None


class Entry(TypedDict, total=False):
    """A line as it lies in a page: `url` and `body`, or `error`."""

    line: int
    custom_id: str | None
    url: str
    body: dict[str, Any]
    error: LineError


class _Bad(Exception):
    def __init__(self, code: str, message: str, param: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.error = LineError(code=code, message=message, param=param, status=status)


class SeenIds:
    """Which custom ids a file has used. A context manager."""

    def __init__(self) -> None:
        # The empty name: a database of its own in a temporary file, spilled to only when its cache is full.
        # Its one user may be another thread each time, one after the other.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA cache_size = -4096")
        self._database.execute("CREATE TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID")

    def __enter__(self) -> SeenIds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def add(self, custom_id: str) -> bool:
        """Whether it is new."""
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1


def read_entries(file: BinaryIO, seen: SeenIds) -> Iterator[Entry]:
    """An entry for each line of `file` that is not blank."""
    number = 0
    while line := file.readline(BATCH_LINE_MAX_BYTES + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        too_long = len(line) > BATCH_LINE_MAX_BYTES
        while too_long and line and not line.endswith(b"\n"):
            line = file.readline(BATCH_LINE_MAX_BYTES)
        if too_long:
            message = f"the line has more than the {BATCH_LINE_MAX_BYTES // MIB} MiB that one may have"
            yield _bad_entry(number, None, LineError(code="line_too_long", message=message, param=None, status=None))
        elif not line.isspace() and line:
            yield _entry(number, line, seen)


def encode_entry(entry: Entry) -> bytes:
    """As a line of a page."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode_entry(line: bytes) -> Entry:
    """A line of a page."""
    return json.loads(line)


def _entry(number: int, line: bytes, seen: SeenIds) -> Entry:
    custom_id: str | None = None
    try:
        content = _object(line)
        custom_id = _custom_id(content)
        if not seen.add(custom_id):
            raise _Bad("duplicate_custom_id", f"the custom_id {_shown(custom_id)} was used before", "custom_id")
        return _checked(number, custom_id, content)
    except _Bad as bad:
        return _bad_entry(number, custom_id, bad.error)


def _object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
        # Half a character, as `"\\ud800"` alone makes it, cannot be written down again.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _Bad("invalid_json_line", f"the line is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise _Bad("invalid_json_line", f"a JSON object is expected, not {type(content).__name__}")
    return cast("dict[str, Any]", content)


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number of JSON's")


def _custom_id(content: Mapping[str, Any]) -> str:
    if "custom_id" not in content:
        raise _Bad("missing_required_parameter", "custom_id is missing", "custom_id")
    custom_id = content["custom_id"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= BATCH_ID_MAX_CHARS:
        raise _Bad("invalid_custom_id", f"custom_id is a text of 1 to {BATCH_ID_MAX_CHARS} characters", "custom_id")
    return custom_id


def _checked(number: int, custom_id: str, content: Mapping[str, Any]) -> Entry:
    method, url, body = content.get("method"), content.get("url"), content.get("body")
    if method != "POST":
        raise _Bad("invalid_method", f"the method is POST, not {_shown(method)}", "method")
    if not isinstance(url, str) or url not in requests.ENDPOINTS:
        served = " and ".join(requests.ENDPOINTS)
        raise _Bad("invalid_url", f"{_shown(url)} is not served: {served} are", "url")
    if not isinstance(body, dict):
        raise _Bad("missing_required_parameter", "body is missing or is not an object", "body")
    given = cast("dict[str, Any]", body)
    try:
        requests.parse(url, given)
    except RequestError as error:
        raise _Bad(error.code, str(error), error.param, error.status) from None
    return Entry(line=number, custom_id=custom_id, url=url, body=given)


def _bad_entry(number: int, custom_id: str | None, error: LineError) -> Entry:
    return Entry(line=number, custom_id=custom_id, error=error)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
