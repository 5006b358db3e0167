from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator
from pydantic import JsonValue

from orbit_core.spec.schemas import parse_output_schema
from orbit_core.spec.text_error import TextError


def closed(properties: dict[str, JsonValue], required: list[str] | None = None) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else [*required],
        "additionalProperties": False,
    }


STRING: dict[str, JsonValue] = {"type": "string"}
NUMBER: dict[str, JsonValue] = {"type": "number"}

SHORT: list[tuple[JsonValue, dict[str, JsonValue]]] = [
    ('{"a": string}', closed({"a": STRING})),
    ('{ "b": number, "a": integer, }', closed({"b": NUMBER, "a": {"type": "integer"}})),
    ('{"c": boolean}', closed({"c": {"type": "boolean"}})),
    ("{}", closed({})),
    ('{"a"?: string, b?: number, c: string}', closed({"a": STRING, "b": NUMBER, "c": STRING}, ["c"])),
    ("{net-income: number}", closed({"net-income": NUMBER})),
    ('{"a": [string]}', closed({"a": {"type": "array", "items": STRING}})),
    ('{"a": [[number,],]}', closed({"a": {"type": "array", "items": {"type": "array", "items": NUMBER}}})),
    ('{"a": {"b": {"c": string}}}', closed({"a": closed({"b": closed({"c": STRING})})})),
    ('{"a": [{"b": number}]}', closed({"a": {"type": "array", "items": closed({"b": NUMBER})}})),
    ('{"q": "Q1" | "Q2"}', closed({"q": {"type": "string", "enum": ["Q1", "Q2"]}})),
    ('{"q": "only"}', closed({"q": {"type": "string", "enum": ["only"]}})),
    ('{"a\\"b": "\\u00fc"}', closed({'a"b': {"type": "string", "enum": ["ü"]}})),
    ('{"type": string, "items": [number]}', closed({"type": STRING, "items": {"type": "array", "items": NUMBER}})),
    ('{"type": "invoice" | "receipt"}', closed({"type": {"type": "string", "enum": ["invoice", "receipt"]}})),
    ('{"type": "invoice"}', closed({"type": {"type": "string", "enum": ["invoice"]}})),
    (
        {"a": "string", "b?": ["number"], "c": {"d": '"x" | "y"'}},
        closed(
            {
                "a": STRING,
                "b": {"type": "array", "items": NUMBER},
                "c": closed({"d": {"type": "string", "enum": ["x", "y"]}}),
            },
            ["a", "c"],
        ),
    ),
    ({"items": "string", "required": "boolean"}, closed({"items": STRING, "required": {"type": "boolean"}})),
]


@pytest.mark.parametrize(("schema", "expected"), SHORT)
def test_the_short_form_reads_as(schema: JsonValue, expected: dict[str, JsonValue]) -> None:
    read = parse_output_schema(schema)
    assert read == expected
    Draft202012Validator.check_schema(read)
    assert parse_output_schema(json.dumps(read)) == read, "what it is written out as is JSON Schema"


def test_the_order_of_keys_is_kept() -> None:
    read = parse_output_schema('{"z": string, "a": string, "m": {"y": number, "b": number}}')
    assert json.dumps(read["properties"]) == (
        '{"z": {"type": "string"}, "a": {"type": "string"}, "m": {"type": "object", "properties": '
        '{"y": {"type": "number"}, "b": {"type": "number"}}, "required": ["y", "b"], "additionalProperties": false}}'
    )
    assert read["required"] == ["z", "a", "m"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": ["object", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "number"}]},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"enum": [1, 2]},
        {"const": {"a": 1}},
    ],
)
def test_json_schema_is_taken_as_it_stands(schema: dict[str, JsonValue]) -> None:
    assert parse_output_schema(schema) == schema
    assert parse_output_schema(json.dumps(schema, indent=2)) == schema


@pytest.mark.parametrize(
    ("text", "offset", "told"),
    [
        ("", 0, "empty"),
        ("  \n", 0, "empty"),
        ("string", 0, "does not read"),
        ("[string]", 0, "does not read"),
        ("5", 0, "does not read"),
        ('{"a": strin}', 6, "no such type"),
        ('{"a": null}', 6, "no such type"),
        ('{"a": }', 6, "does not read"),
        ('{"a" string}', 5, "does not read"),
        ('{"a": string "b": string}', 13, "does not read"),
        ('{"a": string,, "b": string}', 13, "does not read"),
        ('{"a": string', 12, "does not read"),
        ('{"a": string} x', 14, "does not read"),
        ('{"a": [string, number]}', 15, "does not read"),
        ('{"a": []}', 7, "does not read"),
        ('{"a": "x" | string}', 12, "does not read"),
        ('{"a": "x" "y"}', 10, "does not read"),
        ('{"a": string, "a": number}', 14, "stands here twice"),
        ('{"a": "\\q"}', 6, "bad escape"),
        ('{"a": "open}', 6, "does not read"),
        ('{5: string}', 1, "does not read"),
        ('{"a": 5}', 6, "does not read"),
        ('{"a": ' * 70, 6 * 64, "deeper than 64"),
    ],
)  # fmt: skip
def test_what_is_no_schema_and_where(text: str, offset: int, told: str) -> None:
    with pytest.raises(TextError, match=told) as caught:
        parse_output_schema(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("schema", "path", "told"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "strin"}}},
            ("properties", "a", "type"),
            "not valid JSON Schema",
        ),
        ({"type": "object", "required": "a"}, ("required",), "not valid JSON Schema"),
        ({"$ref": "https://example.com/s.json"}, ("$ref",), "refer to itself"),
        ({"type": "array", "items": {"$ref": "other.json"}}, ("items", "$ref"), "refer to itself"),
        ({"a": "strin"}, ("a",), "no such type"),
        ({"a": ["string", "number"]}, ("a",), "a list has one type"),
        ({"a": {"b": 5}}, ("a", "b"), "not a type"),
        (["string"], (), "not a schema"),
        (5, (), "not a schema"),
    ],
)
def test_what_is_no_schema_in_data_and_where(schema: JsonValue, path: tuple[str | int, ...], told: str) -> None:
    with pytest.raises(TextError, match=told) as caught:
        parse_output_schema(schema)
    assert caught.value.path == path


def test_a_schema_that_nests_deeper_than_the_stack_is_an_error_like_any_other() -> None:
    text = '{"type": "object", "properties": {"a": ' * 5_000 + "{}" + "}}" * 5_000
    with pytest.raises(TextError):
        parse_output_schema(text)
    deep: JsonValue = {"type": "string"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    with pytest.raises(TextError, match="deeper"):
        parse_output_schema(deep)


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [("str", "string"), ("int", "integer"), ("Float", "number"), ("bool", "boolean"), ("strng", "string"), ("x", None)],
)
def test_a_close_type_is_suggested(word: str, suggestion: str | None) -> None:
    with pytest.raises(TextError) as caught:
        parse_output_schema(f'{{"a": {word}}}')
    assert caught.value.suggestion == suggestion
