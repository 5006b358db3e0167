"""Redaction: every form of a secret goes, nothing else does, and cutting text into pieces changes nothing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbit_core.security.redact import MIN_CHARS, REPLACEMENT, Redactor

SECRET = 'p@ss "wörd"/+&?'
KEY_FILE = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQ\n-----END KEY-----\n"


@pytest.mark.parametrize(
    "leaked",
    [
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
    ],
)
def test_every_form_is_taken_out(leaked: str) -> None:
    secret = SECRET.lower() if leaked == quote(SECRET, safe="").lower() else SECRET
    assert Redactor([secret]).text(f"before {leaked} after") == f"before {REPLACEMENT} after"


@pytest.mark.parametrize("user", ["u", "us", "usr", "user"])
def test_a_value_inside_a_basic_login_is_taken_out(user: str) -> None:
    secret = "correct horse battery"
    header = base64.b64encode(f"{user}:{secret}!".encode()).decode()
    redacted = Redactor([secret]).text(header)
    assert REPLACEMENT in redacted
    left = "".join(redacted.split(REPLACEMENT))
    assert len(left) <= len(base64.b64encode(f"{user}:".encode())) + 8


def test_short_values_are_left_alone() -> None:
    assert Redactor(["x" * (MIN_CHARS - 1), "", "no"]).text("no xxx there") == "no xxx there"
    assert Redactor(["x" * MIN_CHARS]).text("xxxx") == REPLACEMENT


def test_the_lines_of_a_file_are_taken_out_one_by_one() -> None:
    redactor = Redactor([KEY_FILE])
    assert redactor.text(f"<{KEY_FILE}>") == f"<{REPLACEMENT}>"
    for line in KEY_FILE.splitlines():
        assert redactor.text(f"log: {line}") == f"log: {REPLACEMENT}"


def test_values_that_overlap_leave_no_pieces() -> None:
    redactor = Redactor(["abcdef", "defghi", "abcdefgh"])
    assert redactor.text("xabcdefghiy") == f"x{REPLACEMENT}y"
    assert redactor.text("abcdef defghi") == f"{REPLACEMENT} {REPLACEMENT}"


def test_nested_data_is_redacted_and_keeps_its_shape() -> None:
    redactor = Redactor(["hunter2!"])
    data = {"a": ["hunter2!", 1, None, True], "hunter2!": {"b": ("x hunter2! y",)}}
    assert redactor.data(data) == {
        "a": [REPLACEMENT, 1, None, True],
        REPLACEMENT: {"b": [f"x {REPLACEMENT} y"]},
    }


def test_without_secrets_nothing_changes() -> None:
    redactor = Redactor([])
    stream = redactor.stream()
    assert redactor.text("text") == "text"
    assert stream.feed("text") + stream.flush() == "text"


def test_a_stream_passes_on_what_cannot_be_part_of_a_secret() -> None:
    stream = Redactor(["secret-value"]).stream()
    assert stream.feed("a line\n") == "a line\n"
    assert stream.feed("and sec") == "and "
    assert stream.feed("ond") == "second"
    assert stream.feed("secret-") == ""
    assert stream.feed("value!") == f"{REPLACEMENT}!"
    assert stream.feed("sec") == ""
    assert stream.flush() == "sec"


letters = st.text(alphabet="abc ", max_size=12)


@given(
    values=st.lists(st.text(alphabet="abc", min_size=MIN_CHARS, max_size=8), max_size=3),
    pieces=st.lists(letters, max_size=8),
)
def test_no_piece_of_a_stream_shows_a_secret(values: list[str], pieces: list[str]) -> None:
    redactor = Redactor(values)
    stream = redactor.stream()
    streamed = "".join([*(stream.feed(piece) for piece in pieces), stream.flush()])
    assert streamed == redactor.text("".join(pieces))
    for value in values:
        assert value not in streamed.replace(REPLACEMENT, "|")
