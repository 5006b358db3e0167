"""Giving references their values, in one pass: data that itself holds `${{` stays text.

Secrets come last and apart. Either the agent resolves everything at once (`resolve` with `secrets`), or a
value travels with its secrets open (`resolve_open`, then `fill_secrets`). There is deliberately no function
that looks for `${{ secrets.… }}` in a value that has been resolved before: a document that a satellite read
could then name a secret and have it filled in. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from pydantic import JsonValue

from orbit_core.errors import ReferenceError_, SecretError
from orbit_core.spec.references import (
    Access,
    ClusterReference,
    FailureReference,
    OutputReference,
    OutputsReference,
    Reference,
    SecretReference,
    TriggerReference,
    close_match,
    parse_template,
)

_KEYS_SHOWN = 20
_Held = TypeVar("_Held")


class Scope(Protocol):
    """What references may reach from one invocation. A missing step raises `ReferenceError_`."""

    @property
    def cluster(self) -> Mapping[str, JsonValue]:
        """`identifier`, `trigger`, `run-id`, `sla`, `deadline`."""
        ...

    @property
    def trigger(self) -> JsonValue:
        """The payload."""
        ...

    @property
    def failure(self) -> Mapping[str, JsonValue] | None:
        """`error` and `satellite` inside a `failure:` block, else None."""
        ...

    def output(self, step_id: str) -> JsonValue:
        """The object that the step returned on this lineage."""
        ...

    def outputs(self, step_id: str) -> Sequence[JsonValue]:
        """All objects of the step below the gather that this invocation stands at or after."""
        ...


def _no_steps() -> Mapping[str, JsonValue]:
    return {}


def _no_lists() -> Mapping[str, Sequence[JsonValue]]:
    return {}


@dataclass(frozen=True, slots=True)
class Values:
    """A `Scope` out of plain mappings."""

    output_by_step: Mapping[str, JsonValue] = field(default_factory=_no_steps)
    outputs_by_step: Mapping[str, Sequence[JsonValue]] = field(default_factory=_no_lists)
    cluster: Mapping[str, JsonValue] = field(default_factory=_no_steps)
    trigger: JsonValue = None
    failure: Mapping[str, JsonValue] | None = None

    def output(self, step_id: str) -> JsonValue:
        return _of_step(self.output_by_step, step_id, "output")

    def outputs(self, step_id: str) -> Sequence[JsonValue]:
        return _of_step(self.outputs_by_step, step_id, "outputs")


def value_of(reference: Reference, scope: Scope) -> JsonValue:
    """What `reference` stands for. Raises `ReferenceError_` where there is no such value."""
    match reference:
        case OutputReference(step, path):
            if reference.is_error and scope.failure is not None:
                return _look_up(_field(scope.failure, "error", reference), path[1:], reference)
            return _look_up(scope.output(step), path, reference)
        case OutputsReference(step, path):
            return _look_up(list(scope.outputs(step)), path, reference)
        case ClusterReference(name):
            return _field(scope.cluster, name, reference)
        case TriggerReference(path):
            return _look_up(scope.trigger, path, reference)
        case FailureReference(name):
            if scope.failure is None:
                raise ReferenceError_(f"`{reference}` has a value inside a `failure:` block only")
            return _field(scope.failure, name, reference)
        case SecretReference():
            raise ReferenceError_(f"`{reference}` is filled in by the agent, just before the call")


def resolve(value: JsonValue, scope: Scope, secrets: Mapping[str, str] | None = None) -> JsonValue:
    """`value` with its references replaced, in one pass.

    Without `secrets`, secret references stay as they are written: that form is for hashes and for display.
    Raises `ReferenceError_` for a value that is not there, `SecretError` for a secret that was not handed in.
    """
    if isinstance(value, str):
        return _resolve_text(value, scope, secrets)
    if isinstance(value, dict):
        return {key: resolve(item, scope, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope, secrets) for item in value]
    return value


def _resolve_text(text: str, scope: Scope, secrets: Mapping[str, str] | None) -> JsonValue:
    if "${{" not in text:
        return text
    # One reference and nothing else keeps its type; a block scalar ends in a newline that is not meant.
    parts = parse_template(text.strip())
    if len(parts) == 1 and not isinstance(parts[0], str):
        return _part_value(parts[0], scope, secrets)
    return "".join(
        part if isinstance(part, str) else as_text(_part_value(part, scope, secrets)) for part in parse_template(text)
    )


def _part_value(reference: Reference, scope: Scope, secrets: Mapping[str, str] | None) -> JsonValue:
    if not isinstance(reference, SecretReference):
        return value_of(reference, scope)
    return f"${{{{ {reference} }}}}" if secrets is None else _secret(reference.name, secrets)


def as_text(value: JsonValue) -> str:
    """How `value` reads inside a longer text: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


OpenPart: TypeAlias = str | SecretReference


@dataclass(frozen=True, slots=True)
class SecretSlot:
    """A text whose secrets are still to come: where it stands, and its parts."""

    path: tuple[Access, ...]
    parts: tuple[OpenPart, ...]

    def to_json(self) -> JsonValue:
        parts: list[JsonValue] = [part if isinstance(part, str) else {"secret": part.name} for part in self.parts]
        return {"path": list(self.path), "parts": parts}


@dataclass(frozen=True, slots=True)
class OpenValue:
    """A resolved value whose secrets are still to come. In `value` each open text reads as it was written."""

    value: JsonValue
    slots: tuple[SecretSlot, ...] = ()


def resolve_open(value: JsonValue, scope: Scope) -> OpenValue:
    """Like `resolve`, with the places of the secrets kept apart from the data, for `fill_secrets`."""
    slots: list[SecretSlot] = []
    return OpenValue(_open(value, scope, (), slots), tuple(slots))


def _open(value: JsonValue, scope: Scope, path: tuple[Access, ...], slots: list[SecretSlot]) -> JsonValue:
    if isinstance(value, dict):
        return {key: _open(item, scope, (*path, key), slots) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item, scope, (*path, index), slots) for index, item in enumerate(value)]
    if isinstance(value, str) and "${{" in value:
        parts = parse_template(value.strip())
        if not (len(parts) == 1 and isinstance(parts[0], SecretReference)):
            parts = parse_template(value)
        if any(isinstance(part, SecretReference) for part in parts):
            slots.append(SecretSlot(path, tuple(_open_part(part, scope) for part in parts)))
        return _resolve_text(value, scope, None)
    return value


def _open_part(part: str | Reference, scope: Scope) -> OpenPart:
    if isinstance(part, str | SecretReference):
        return part
    return as_text(value_of(part, scope))


def fill_secrets(opened: OpenValue, secrets: Mapping[str, str]) -> JsonValue:
    """`opened` with its secrets filled in; `opened` itself is left as it is. Raises `SecretError`."""
    filled = opened.value
    for slot in opened.slots:
        text = "".join(part if isinstance(part, str) else _secret(part.name, secrets) for part in slot.parts)
        filled = _replace(filled, slot.path, text)
    return filled


def _replace(value: JsonValue, path: tuple[Access, ...], text: str) -> JsonValue:
    if not path:
        return text
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and isinstance(first, str) and first in value:
        return {key: _replace(item, rest, text) if key == first else item for key, item in value.items()}
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        return [_replace(item, rest, text) if index == first else item for index, item in enumerate(value)]
    raise ValueError(f"a secret's slot points outside the value, at {first!r}")


def _secret(name: str, secrets: Mapping[str, str]) -> str:
    if name not in secrets:
        raise SecretError(
            f"the secret {name} was not given to this step", remedy=f"run `orbit secrets set CLUSTER {name}`"
        )
    return secrets[name]


def _of_step(by_step: Mapping[str, _Held], step_id: str, word: str) -> _Held:
    if step_id not in by_step:
        there = ", ".join(by_step) or "none"
        raise ReferenceError_(
            f"`satellites.{step_id}.{word}` has no value on this lineage; the steps that have one: {there}"
        )
    return by_step[step_id]


def _field(fields: Mapping[str, JsonValue], name: str, reference: Reference) -> JsonValue:
    if name not in fields:
        raise _missing(reference, name, list(fields))
    return fields[name]


def _look_up(value: JsonValue, path: tuple[Access, ...], reference: Reference) -> JsonValue:
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            if step not in value:
                raise _missing(reference, step, list(value))
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int):
            if step >= len(value):
                raise ReferenceError_(
                    f"`{reference}` has no value: the list has {len(value)} items, and [{step}] is past its end"
                )
            value = value[step]
        else:
            raise ReferenceError_(
                f"`{reference}` has no value: {step!r} was looked for inside {kind_of(value)}",
                remedy="a list is indexed with [0], a mapping with .key",
            )
    return value


def kind_of(value: JsonValue) -> str:
    """What `value` is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"


def _missing(reference: Reference, key: str, there: list[str]) -> ReferenceError_:
    shown = ", ".join(there[:_KEYS_SHOWN]) + (", …" if len(there) > _KEYS_SHOWN else "")
    close = close_match(key, there[:1000])
    return ReferenceError_(
        f"`{reference}` has no value: there is no key `{key}`; there is: {shown or 'nothing'}",
        remedy=f"did you mean `{close}`?" if close else None,
    )
