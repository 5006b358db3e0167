"""Batch files read line by line: what a line becomes, and what is wrong with a bad one."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from orbit_core.batch import lines as lines_module
from orbit_core.batch.lines import Entry, SeenIds, decode_entry, encode_entry, read_entries

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def request(custom_id: str = "a", url: str = "/v1/chat/completions", body: Any = CHAT, **others: Any) -> bytes:
    content = {"custom_id": custom_id, "method": "POST", "url": url, "body": body} | others
    return json.dumps(content).encode()


def read(*lines: bytes, end: bytes = b"\n") -> list[Entry]:
    with SeenIds() as seen:
        return list(read_entries(io.BytesIO(b"".join(line + end for line in lines)), seen))


def problem(line: bytes) -> tuple[str, str | None, int | None]:
    (entry,) = read(line)
    assert "body" not in entry
    error = entry["error"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
    return error["code"], error["param"], error["status"]


def test_a_request_is_an_entry_with_its_line_and_body() -> None:
    first, second = read(request("a"), request("b", "/v1/embeddings", {"input": "x"}))
    assert first == {"line": 1, "custom_id": "a", "url": "/v1/chat/completions", "body": CHAT}
    assert second == {"line": 2, "custom_id": "b", "url": "/v1/embeddings", "body": {"input": "x"}}
    assert decode_entry(encode_entry(first)) == first
    assert encode_entry(first).count(b"\n") == 1


def test_blank_lines_are_passed_over_and_counted() -> None:
    entries = read(b"", request("a"), b"  \t", request("b"))
    assert [(entry.get("line"), entry.get("custom_id")) for entry in entries] == [(2, "a"), (4, "b")]


def test_windows_line_ends_a_byte_order_mark_and_no_last_line_end_are_fine() -> None:
    assert [entry.get("custom_id") for entry in read(request("a"), request("b"), end=b"\r\n")] == ["a", "b"]
    with SeenIds() as seen:
        entries = list(read_entries(io.BytesIO(b"\xef\xbb\xbf" + request("a") + b"\n" + request("b")), seen))
    assert ["error" in entry for entry in entries] == [False, False]


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{broken", "invalid_json_line", None),
        (b"\xff\xfe", "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b'{"custom_id": "a", "x": NaN}', "invalid_json_line", None),
        (b'{"custom_id": "\\ud800"}', "invalid_json_line", None),
        (b"[" * 100_000, "invalid_json_line", None),
        (b'{"x": ' + b"9" * 5_000 + b"}", "invalid_json_line", None),
        (b"{}", "missing_required_parameter", "custom_id"),
        (request(custom_id=7), "invalid_custom_id", "custom_id"),  # pyright: ignore[reportArgumentType]
        (request(custom_id=""), "invalid_custom_id", "custom_id"),
        (request(custom_id="x" * 513), "invalid_custom_id", "custom_id"),
        (request(method="GET"), "invalid_method", "method"),
        (request(url="/v1/images"), "invalid_url", "url"),
        (request(url=["/v1/embeddings"]), "invalid_url", "url"),  # pyright: ignore[reportArgumentType]
        (request(body=None), "missing_required_parameter", "body"),
        (request(body="hi"), "missing_required_parameter", "body"),
    ],
)
def test_a_line_that_is_no_request_says_why(line: bytes, code: str, param: str | None) -> None:
    assert problem(line) == (code, param, None)


def test_a_body_that_an_endpoint_would_refuse_has_a_status() -> None:
    assert problem(request(body={"messages": []})) == ("invalid_value", "messages", 400)
    assert problem(request(body={})) == ("missing_required_parameter", "messages", 400)


def test_the_first_of_two_custom_ids_that_are_alike_stands() -> None:
    first, second, third = read(request("a"), request("a"), request("b"))
    assert "error" not in first and "error" not in third
    assert second.get("error", {}).get("code") == "duplicate_custom_id"
    assert second.get("custom_id") == "a"


def test_a_line_that_is_too_long_costs_no_memory_and_not_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BATCH_LINE_MAX_BYTES", 1_000)
    long = request(body=CHAT | {"user": "x" * 5_000})
    entries = read(request("a"), long, request("b"))
    assert [entry.get("error", {}).get("code") for entry in entries] == [None, "line_too_long", None]
    assert [entry.get("line") for entry in entries] == [1, 2, 3]
    exactly = request("c", body=CHAT | {"user": ""})
    filled = request("c", body=CHAT | {"user": "x" * (1_000 - 1 - len(exactly))})
    assert len(filled) == 999
    (entry,) = read(filled)
    assert "error" not in entry


def test_many_ids_are_told_apart() -> None:
    with SeenIds() as seen:
        assert all(seen.add(f"id-{number}") for number in range(20_000))
        assert not any(seen.add(f"id-{number}") for number in range(0, 20_000, 997))
