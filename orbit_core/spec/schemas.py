"""Output schemas: JSON Schema 2020-12 as it stands, or the short form written out as one.

    {"company": string, "quarter"?: "Q1" | "Q2", "lines": [{"net": number}],}

    object := "{" [member ("," member)* [","]] "}"      member := key ["?"] ":" type      key := "text" | name
    type   := string | number | integer | boolean | "a" ("|" "b")* | "[" type "]" | object

The order of the keys is kept, since guided decoding follows it. In YAML the short form may also be written as a
mapping with the types as text. Whether an engine can hold an answer to a schema is the engine's to say.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from pydantic import JsonValue

from orbit_core.spec.references import close_match
from orbit_core.spec.text_error import TextError, quoted

JsonSchema: TypeAlias = dict[str, JsonValue]

EXPECTED: Final = 'JSON Schema, or the short form: {"company": string, "revenue": number}'
TYPES: Final = ("string", "number", "integer", "boolean")

_NESTING_MAX: Final = 64
_KEYWORDS: Final = (
    "$schema", "$id", "$ref", "$defs", "type", "properties", "items", "prefixItems", "enum", "const",
    "anyOf", "oneOf", "allOf", "not", "required", "additionalProperties",
)  # fmt: skip
_SCHEMA_TYPES: Final = (*TYPES, "object", "array", "null")
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>[{}\[\],:?|]) | (?P<text>"(?:[^"\\]|\\.)*") | (?P<name>[^\W\d][\w-]*)
      | (?P<end>\Z) | (?P<other>.))""",
    re.VERBOSE | re.DOTALL,
)

_TokenKind: TypeAlias = Literal["sign", "text", "name", "end", "other"]


def parse_output_schema(schema: JsonValue) -> JsonSchema:
    """`schema` as JSON Schema. Raises `TextError`, with the offset or the path of the fault."""
    if isinstance(schema, str):
        return _from_text(schema)
    if not isinstance(schema, dict):
        raise TextError("this is not a schema", expected=EXPECTED)
    if _is_json_schema(schema):
        return _accepted(schema)
    return _object_of_mapping(schema, ())


def _from_text(text: str) -> JsonSchema:
    try:
        value = cast("JsonValue", json.loads(text))
    except (ValueError, RecursionError):
        return _ShortForm(text).parse()
    if isinstance(value, dict) and _is_json_schema(value):
        return _accepted(value)
    return _ShortForm(text).parse()


def _is_json_schema(value: dict[str, JsonValue]) -> bool:
    """A short form may have a key `type` too: then what it holds is no type of JSON Schema's."""
    if not any(key in _KEYWORDS for key in value):
        return False
    if "$schema" in value or "type" not in value:
        return not all(_reads_as_type(item) for item in value.values())
    kind = value["type"]
    names = kind if isinstance(kind, list) else [kind]
    return all(isinstance(name, str) and name in _SCHEMA_TYPES for name in names)


def _reads_as_type(item: JsonValue) -> bool:
    return isinstance(item, str) and item in TYPES


def _accepted(schema: JsonSchema) -> JsonSchema:
    if not _nests_at_most(schema, _NESTING_MAX):
        raise TextError(f"the schema nests deeper than {_NESTING_MAX}")
    from jsonschema import Draft202012Validator  # a sixth of a second, which most commands need not spend
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        message = str(error.message)[:200]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        path = tuple(error.absolute_path)
        raise TextError(f"this is not valid JSON Schema: {message}", path=path) from error
    _refuse_outside_references(schema, ())
    return schema


def _nests_at_most(value: JsonValue, levels: int) -> bool:
    """Level by level, since the text of a schema may nest deeper than Python's stack."""
    level: list[JsonValue] = [value]
    while level and levels >= 0:
        below: list[JsonValue] = []
        for item in level:
            below.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        level, levels = below, levels - 1
    return not level


def _refuse_outside_references(value: JsonValue, path: tuple[str | int, ...]) -> None:
    if isinstance(value, dict):
        target = value.get("$ref")
        if isinstance(target, str) and not target.startswith("#"):
            raise TextError(
                "a schema may refer to itself only", found=quoted(target), expected="#/$defs/…", path=(*path, "$ref")
            )
        for key, item in value.items():
            _refuse_outside_references(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_outside_references(item, (*path, index))


def _object(properties: dict[str, JsonValue], required: list[str]) -> JsonSchema:
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }


def _object_of_mapping(mapping: dict[str, JsonValue], path: tuple[str | int, ...]) -> JsonSchema:
    properties: dict[str, JsonValue] = {}
    required: list[str] = []
    for key, item in mapping.items():
        name = key.removesuffix("?")
        properties[name] = _type_of_value(item, (*path, key))
        if name == key:
            required.append(name)
    return _object(properties, required)


def _type_of_value(value: JsonValue, path: tuple[str | int, ...]) -> JsonSchema:
    if isinstance(value, dict):
        return _object_of_mapping(value, path)
    if isinstance(value, list) and len(value) == 1:
        return {"type": "array", "items": _type_of_value(value[0], (*path, 0))}
    if isinstance(value, str):
        try:
            return _ShortForm(value).parse_type()
        except TextError as error:
            error.path = path
            raise
    message = "a list has one type" if isinstance(value, list) else "this is not a type"
    raise TextError(message, expected=", ".join(TYPES) + ", [type] or a mapping", path=path)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _TokenKind
    text: str
    start: int
    end: int


class _ShortForm:
    """The parser of the short form; its methods follow the grammar above."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._token = self._read(0)

    def parse(self) -> JsonSchema:
        if not self._at("{"):
            raise (
                self._unexpected("`{`")
                if self._token.kind != "end"
                else TextError("the schema is empty", expected=EXPECTED)
            )
        schema = self._object()
        self._expect_end()
        return schema

    def parse_type(self) -> JsonSchema:
        schema = self._type()
        self._expect_end()
        return schema

    def _read(self, position: int) -> _Token:
        match = _TOKEN.match(self._text, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None:  # the last two alternatives match anything, the end included
            raise AssertionError(f"no token at {position} of {self._text!r}")
        return _Token(cast("_TokenKind", kind), match[kind], match.start(kind), match.end())

    def _advance(self) -> _Token:
        token = self._token
        self._token = self._read(token.end)
        return token

    def _at(self, sign: str) -> bool:
        return self._token.kind == "sign" and self._token.text == sign

    def _expect(self, sign: str) -> None:
        if not self._at(sign):
            raise self._unexpected(f"`{sign}`")
        self._advance()

    def _expect_end(self) -> None:
        if self._token.kind != "end":
            raise self._unexpected("the end")

    def _unexpected(self, expected: str) -> TextError:
        token = self._token
        found = "the end" if token.kind == "end" else f"`{token.text[:40]}`"
        return TextError("this does not read as a schema", offset=token.start, found=found, expected=expected)

    def _type(self) -> JsonSchema:
        if self._at("{"):
            return self._object()
        if self._at("["):
            return self._array()
        if self._token.kind == "text":
            return self._enum()
        if self._token.kind != "name":
            raise self._unexpected("a type")
        return self._named()

    def _named(self) -> JsonSchema:
        token = self._token
        if token.text not in TYPES:
            raise TextError(
                "there is no such type",
                offset=token.start,
                found=f"`{token.text[:40]}`",
                expected=f'{", ".join(TYPES)}, [type], {{…}} or "a" | "b"',
                suggestion=_INSTEAD.get(token.text.lower()) or close_match(token.text, TYPES),
            )
        self._advance()
        return {"type": token.text}

    def _enum(self) -> JsonSchema:
        values = [self._string()]
        while self._at("|"):
            self._advance()
            if self._token.kind != "text":
                raise self._unexpected('another `"text"`')
            values.append(self._string())
        return {"type": "string", "enum": [*values]}

    def _string(self) -> str:
        token = self._token
        try:
            text = json.loads(token.text)
        except ValueError as error:
            raise TextError("this text has a bad escape", offset=token.start) from error
        self._advance()
        return str(text)

    def _array(self) -> JsonSchema:
        self._enter()
        self._advance()
        items = self._type()
        if self._at(","):
            self._advance()
        self._expect("]")
        self._depth -= 1
        return {"type": "array", "items": items}

    def _object(self) -> JsonSchema:
        self._enter()
        self._advance()
        properties: dict[str, JsonValue] = {}
        required: list[str] = []
        while not self._at("}"):
            offset, (key, optional) = self._token.start, self._key()
            if key in properties:
                raise TextError("the key stands here twice", offset=offset, found=f"`{key[:40]}`")
            self._expect(":")
            properties[key] = self._type()
            if not optional:
                required.append(key)
            if not self._at("}"):
                self._expect_comma()
        self._advance()
        self._depth -= 1
        return _object(properties, required)

    def _expect_comma(self) -> None:
        if not self._at(","):
            raise self._unexpected("`,` or `}`")
        self._advance()

    def _key(self) -> tuple[str, bool]:
        if self._token.kind == "text":
            key = self._string()
        elif self._token.kind == "name":
            key = self._advance().text
        else:
            raise self._unexpected("a key or `}`")
        if self._at("?"):
            self._advance()
            return key, True
        return key, False

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _NESTING_MAX:
            raise TextError(f"the schema nests deeper than {_NESTING_MAX}", offset=self._token.start)


_INSTEAD: Final = {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "bool": "boolean",
}
