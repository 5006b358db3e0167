from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import JsonValue

from orbit_core.errors import ReferenceError_, SecretError
from orbit_core.spec.references import SecretReference
from orbit_core.spec.resolve import (
    OpenValue,
    SecretSlot,
    Values,
    fill_secrets,
    resolve,
    resolve_open,
)

REPORT: JsonValue = {
    "path": "in/a.pdf",
    "pages": [{"n": 1}, {"n": 2}],
    "ok": True,
    "size": 7,
    "rate": 0.5,
    "none": None,
}
SCOPE = Values(
    output_by_step={"list": REPORT, "parse.v2": "just text"},
    outputs_by_step={"each": [1, {"a": "ü"}]},
    cluster={"identifier": "acme/demo", "trigger": "2026-01-02T00:00:00Z", "sla": "6h"},
    trigger={"key": "in/a.pdf"},
)
FAILED = Values(
    output_by_step={"list": {"error": "an output's own key"}, "move": {"uri": "s3://x"}},
    failure={"error": "it broke", "satellite": "parse"},
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ("${{ satellites.list.output }}", REPORT),
        ("${{ satellites.list.output.pages }}", [{"n": 1}, {"n": 2}]),
        ("${{ satellites.list.output.pages[1].n }}", 2),
        ("${{ satellites.list.output.ok }}", True),
        ("${{ satellites.list.output.none }}", None),
        ("$${{satellites.list.output.rate}}", 0.5),
        ("  ${{ satellites.list.output.size }}\n", 7),
        ("${{ satellites.parse.v2.output }}", "just text"),
        ("${{ satellites.each.outputs }}", [1, {"a": "ü"}]),
        ("${{ satellites.each.outputs[1].a }}", "ü"),
        ("${{ trigger }}", {"key": "in/a.pdf"}),
        ("${{ trigger.key }}", "in/a.pdf"),
        ("${{ cluster.identifier }} within ${{ cluster.sla }}", "acme/demo within 6h"),
        ("size ${{ satellites.list.output.size }}", "size 7"),
        ("${{ satellites.list.output.ok }}!", "true!"),
        ("${{ satellites.list.output.none }}!", "null!"),
        ("${{ satellites.list.output.pages }} pages", '[{"n": 1}, {"n": 2}] pages'),
        ("all: ${{ satellites.each.outputs }}", 'all: [1, {"a": "ü"}]'),
        ("text: ${{ satellites.parse.v2.output }}\n", "text: just text\n"),
        ("a${{ trigger.key }}${{ trigger.key }}b", "ain/a.pdfin/a.pdfb"),
        (
            {"k": ["${{ trigger.key }}", {"deep": "${{ satellites.list.output.size }}"}]},
            {"k": ["in/a.pdf", {"deep": 7}]},
        ),
        ({"${{ trigger.key }}": 1}, {"${{ trigger.key }}": 1}),
    ],
)
def test_a_value_resolves_to(value: JsonValue, expected: JsonValue) -> None:
    assert resolve(value, SCOPE) == expected


def test_types_are_kept_exactly() -> None:
    assert resolve("${{ satellites.list.output.ok }}", SCOPE) is True
    assert type(resolve("${{ satellites.list.output.size }}", SCOPE)) is int


def test_data_that_holds_a_reference_stays_text() -> None:
    evil = "${{ secrets.KEY }} ${{ trigger.key }}"
    scope = Values(output_by_step={"a": {"text": evil}}, trigger={"key": "k"})
    assert resolve("${{ satellites.a.output.text }}", scope, {"KEY": "hunter2"}) == evil
    assert resolve("it says ${{ satellites.a.output.text }}", scope, {"KEY": "hunter2"}) == f"it says {evil}"


def test_data_cannot_name_a_secret_when_secrets_are_filled_in_later() -> None:
    evil = "${{ secrets.KEY }}"
    scope = Values(output_by_step={"a": {"text": evil}})
    opened = resolve_open(
        {
            "mixed": "${{ satellites.a.output.text }} ${{ secrets.KEY }} ${{ satellites.a.output.text }}",
            "data": "${{ satellites.a.output.text }}",
            "whole": "${{ satellites.a.output }}",
            "alone": " ${{ secrets.KEY }}\n",
        },
        scope,
    )
    assert fill_secrets(opened, {"KEY": "hunter2"}) == {
        "mixed": f"{evil} hunter2 {evil}",
        "data": evil,
        "whole": {"text": evil},
        "alone": "hunter2",
    }


def test_secret_references_stay_as_written_until_secrets_come() -> None:
    config: JsonValue = {"headers": [{"Authorization": "Bearer $${{secrets.TOKEN}}"}], "n": "${{ trigger.key }}"}
    assert resolve(config, SCOPE) == {"headers": [{"Authorization": "Bearer ${{ secrets.TOKEN }}"}], "n": "in/a.pdf"}
    opened = resolve_open(config, SCOPE)
    assert opened.value == resolve(config, SCOPE)
    assert opened.slots == (SecretSlot(("headers", 0, "Authorization"), ("Bearer ", SecretReference("TOKEN"))),)
    assert fill_secrets(opened, {"TOKEN": "t"}) == {"headers": [{"Authorization": "Bearer t"}], "n": "in/a.pdf"}
    assert opened.value == resolve(config, SCOPE), "an open value is not changed by filling it"
    assert resolve(config, SCOPE, {"TOKEN": "t"}) == fill_secrets(opened, {"TOKEN": "t"})


def test_a_slot_can_be_written_down() -> None:
    (slot,) = resolve_open(["x ${{ secrets.A }}"], SCOPE).slots
    assert json.loads(json.dumps(slot.to_json())) == {"path": [0], "parts": ["x ", {"secret": "A"}]}


def test_a_whole_value_may_be_a_secret() -> None:
    assert fill_secrets(resolve_open("${{ secrets.A }}", SCOPE), {"A": "x"}) == "x"


def test_a_slot_outside_the_value_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        fill_secrets(OpenValue({"a": 1}, (SecretSlot(("b",), (SecretReference("A"),)),)), {"A": "x"})


@pytest.mark.parametrize("fill", [False, True])
def test_a_secret_that_was_not_given_is_named(fill: bool) -> None:
    with pytest.raises(SecretError, match="KEY"):
        if fill:
            fill_secrets(resolve_open("${{ secrets.KEY }}", SCOPE), {"OTHER": "x"})
        else:
            resolve("${{ secrets.KEY }}", SCOPE, {"OTHER": "x"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${{ satellites.list.output.pth }}", r"satellites\.list\.output\.pth.*no key `pth`.*path, pages.*mean `path`"),
        ("${{ satellites.list.output.pages[2] }}", "2 items"),
        ("${{ satellites.list.output.pages.n }}", "a list"),
        ("${{ satellites.list.output[0] }}", "a mapping"),
        ("${{ satellites.list.output.size.x }}", "a number"),
        ("${{ satellites.list.output.none.x }}", "null"),
        ("${{ satellites.other.output }}", r"satellites\.other\.output.*list, parse\.v2"),
        ("${{ satellites.list.outputs }}", r"satellites\.list\.outputs"),
        ("${{ cluster.deadline }}", "no key `deadline`"),
        ("${{ trigger.name }}", "no key `name`; there is: key"),
        ("${{ failure.error }}", "inside a `failure:` block only"),
    ],
)
def test_a_missing_value_says_what_there_is(text: str, told: str) -> None:
    with pytest.raises(ReferenceError_, match=told):
        resolve(text, SCOPE)


def test_inside_failure_the_error_is_the_lineages_whichever_step_is_named() -> None:
    assert resolve("${{ satellites.list.output.error }}", FAILED) == "it broke"
    assert resolve("${{ satellites.never-ran.output.error }}", FAILED) == "it broke"
    assert resolve("${{ failure.satellite }}: ${{ failure.error }}", FAILED) == "parse: it broke"
    assert resolve("${{ satellites.move.output.uri }}", FAILED) == "s3://x"


def test_outside_failure_an_error_is_a_key_like_any_other() -> None:
    scope = Values(output_by_step={"list": {"error": "a key"}})
    assert resolve("${{ satellites.list.output.error }}", scope) == "a key"


def test_the_value_itself_is_left_as_it_is() -> None:
    config: Any = {"a": ["${{ trigger.key }}"]}
    resolve(config, SCOPE)
    assert config == {"a": ["${{ trigger.key }}"]}
