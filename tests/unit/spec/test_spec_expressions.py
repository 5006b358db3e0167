from __future__ import annotations

import pytest
from pydantic import JsonValue

from orbit_core.errors import ReferenceError_
from orbit_core.spec.expressions import Condition, evaluate, lookups, parse_expression, same
from orbit_core.spec.resolve import Values
from orbit_core.spec.text_error import TextError

SCOPE = Values(
    output_by_step={
        "a": {"n": 3, "rate": 0.5, "text": "b", "ok": True, "no": False, "none": None, "list": [1, 2], "map": {"x": 1}},
        "get-files": {"file-path": "in/a.pdf"},
        "parse.v2": {"pages": 4},
    },
    cluster={"identifier": "acme/demo"},
    trigger={"kind": "full"},
)


def holds(text: str) -> bool:
    return Condition.parse(text).holds(SCOPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("!true", False),
        ("!!true", True),
        ("!(1 == 2)", True),
        ("satellites.a.output.ok", True),
        ("!satellites.a.output.no", True),
        ("satellites.a.output.n == 3", True),
        ("satellites.a.output.n == 3.0", True),
        ("satellites.a.output.n != 3", False),
        ("satellites.a.output.n > 2", True),
        ("satellites.a.output.n >= 3 && satellites.a.output.n <= 3", True),
        ("satellites.a.output.n < -1", False),
        ("satellites.a.output.rate < 1e0", True),
        ("satellites.a.output.text == 'b'", True),
        ('satellites.a.output.text == "b"', True),
        ("'a' < satellites.a.output.text", True),
        ("satellites.a.output.none == null", True),
        ("satellites.a.output.n == null", False),
        ("satellites.a.output.ok == 1", False),
        ("satellites.a.output.n == '3'", False),
        ("satellites.a.output.list[1] == 2", True),
        ("satellites.a.output.list == satellites.a.output.list", True),
        ("satellites.get-files.output.file-path == 'in/a.pdf'", True),
        ("satellites.parse.v2.output.pages==4", True),
        ("cluster.identifier == 'acme/demo' && trigger.kind != 'part'", True),
        ("trigger.kind=='full'||satellites.nobody.output.x", True),
        ("false && satellites.nobody.output.x", False),
        # && before ||, comparisons before both, ! before all
        ("true || false && false", True),
        ("(true || false) && false", False),
        ("!false && false", False),
        ("1 == 1 && 2 == 2 || 1 == 2", True),
        ("!(true && false) == true", True),
        ("(1 < 2) == (3 < 4)", True),
        ("false || false || true", True),
        ("true && true && false", False),
        # braces around all of it, around parts of it, or not at all
        ("${{ satellites.a.output.n > 2 }}", True),
        ("$${{satellites.a.output.n}} > 2", True),
        ("${{ satellites.a.output.n }} > 2 && ${{ satellites.a.output.ok }}", True),
        ("  ${{ satellites.a.output.text }} == 'b'\n", True),
        ("satellites.a.output.n > 2\n  && satellites.a.output.ok", True),
        ("'}}' == '}}'", True),
    ],
)
def test_a_condition_holds(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "offset", "told"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("1", 0, "takes a boolean"),
        ("'yes'", 0, "takes a boolean"),
        ("null", 0, "takes a boolean"),
        ("true && 'x'", 8, "takes a boolean"),
        ("!5", 1, "takes a boolean"),
        ("a", 0, "nothing is called `a`"),
        ("satellites.a.output.n = 1", 22, "does not read"),
        ("satellites.a.output.n === 1", 24, "does not read"),
        ("satellites.a.output.n == ", 25, "does not read"),
        ("== 1", 0, "does not read"),
        ("(true", 5, "does not read"),
        ("true)", 4, "does not read"),
        ("(true }}", 6, "does not read"),
        ("${{ true", 8, "does not read"),
        ("${{ true )", 9, "does not read"),
        ("true }}", 5, "does not read"),
        ("true & true", 5, "does not read"),
        ("true and true", 5, "does not read"),
        ("not true", 0, "does not read"),
        ("satellites.a.output.n == 'x", 25, "never closed"),
        ("satellites.a.output.n + 1 == 2", 22, "does not read"),
        ("1 < 2 < 3", 6, "do not chain"),
        ("1 == 1 == true", 7, "do not chain"),
        ("true < false", 0, "orders numbers or texts"),
        ("satellites.a.output.n > null", 24, "orders numbers or texts"),
        ("1 < 'a'", 0, "two numbers or two texts"),
        ("(1 == 1) < 2", 1, "orders numbers or texts"),
        ("(1 && true) == true", 1, "takes a boolean"),
        ("satellites.a.output.n == 1e999", 25, "too large"),
        ("satellites.a.output.n == " + "9" * 60, 25, "too long"),
        ("satellites.a.output.n == 5x", 25, "does not read"),
        ("satellites.a.output.n == 5-x", 25, "does not read"),
        ("(" * 65 + "true" + ")" * 65, 64, "deeper than 64"),
        ("!" * 65 + "true", 64, "deeper than 64"),
    ],
)
def test_what_is_no_condition_and_where(text: str, offset: int, told: str) -> None:
    with pytest.raises(TextError, match=told) as caught:
        parse_expression(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("satellites.a.output.n", "an `if` takes true or false.*is a number"),
        ("satellites.a.output.n && true", "`&&` takes true or false, and `satellites.a.output.n` is a number"),
        ("satellites.a.output.list || true", "`\\|\\|` takes true or false.*a list"),
        ("!satellites.a.output.text", "`!` takes true or false.*is text"),
        ("satellites.a.output.n < satellites.a.output.text", "not a number and text"),
        ("satellites.a.output.ok < 1", "not a boolean and a number"),
        ("satellites.a.output.none >= 1", "not null and a number"),
        ("satellites.a.output.missing == 1", "no key `missing`"),
        ("satellites.b.output.n == 1", "satellites.b.output"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_at_run_time(text: str, told: str) -> None:
    with pytest.raises(ReferenceError_, match=told):
        holds(text)


def test_a_very_long_condition_neither_nests_nor_fails() -> None:
    assert holds(" && ".join(["satellites.a.output.ok"] * 5_000))
    assert holds(" || ".join(["satellites.a.output.no"] * 5_000 + ["true"]))


def test_lookups_come_from_left_to_right_with_their_places() -> None:
    text = "!satellites.a.output.x && (trigger.y == 1 || ${{ cluster.sla }} != 'x')"
    found = list(lookups(parse_expression(text)))
    assert [str(lookup.reference) for lookup in found] == ["satellites.a.output.x", "trigger.y", "cluster.sla"]
    assert [text[lookup.offset : lookup.end] for lookup in found] == [
        "satellites.a.output.x",
        "trigger.y",
        "cluster.sla",
    ]


def test_literals_evaluate_to_themselves() -> None:
    assert [evaluate(parse_expression(f"{text} == {text}"), SCOPE) for text in ("1", "1.5", "'a'", "null", "true")] == [
        True
    ] * 5


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (False, 0, False),
        ("1", 1, False),
        (None, None, True),
        (None, False, False),
        ([1, [True]], [1.0, [True]], True),
        ([1, [True]], [1, [1]], False),
        ([1], [1, 2], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ({}, [], False),
    ],
)
def test_equality_is_that_of_json(left: JsonValue, right: JsonValue, expected: bool) -> None:
    assert same(left, right) is expected
    assert same(right, left) is expected
