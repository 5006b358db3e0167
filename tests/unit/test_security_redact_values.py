"""Known secrets leave text and results, and nothing else does."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from orbit_core.security.redact import REPLACEMENT, Redactor

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SECRETS = st.text(min_size=4, max_size=40).filter(
    lambda text: len(text.strip()) >= 4 and text.strip() not in REPLACEMENT
)


@given(SECRETS, st.text(), st.text())
def test_a_secret_is_found_in_each_form_it_takes(secret: str, before: str, after: str) -> None:
    secret = secret.encode(errors="replace").decode()
    redactor = Redactor([secret])
    for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
        assert form not in redactor.text(f"{before} {form} {after}").replace(REPLACEMENT, "")


@given(JSON_VALUES)
def test_what_holds_no_secret_stays_as_it_is(value: object) -> None:
    redactor = Redactor(["5f2b0c9e-secret"])
    assert redactor.data(value) == value


def test_numbers_and_structure_are_left_alone() -> None:
    redactor = Redactor(["12345678"])
    value = {"count": 12345678, "text": "id 12345678!", "12345678": [True, None, "12345678"]}
    assert redactor.data(value) == {
        "count": 12345678,
        "text": f"id {REPLACEMENT}!",
        REPLACEMENT: [True, None, REPLACEMENT],
    }


def test_the_longer_of_two_secrets_wins_and_short_values_are_no_secrets() -> None:
    redactor = Redactor(["token", "token-and-more", "abc", "", "  a  "])
    assert redactor.text("token-and-more, token, abc, a") == f"{REPLACEMENT}, {REPLACEMENT}, abc, a"
    assert Redactor([]).text("anything") == "anything"


def test_a_key_of_many_lines_is_known_by_each() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----"
    assert Redactor([key]).text("it read MIIEvQIBADANBgkqhkiG9w0 there") == f"it read {REPLACEMENT} there"
