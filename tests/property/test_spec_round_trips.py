"""What goes out of the format comes back: durations, amounts, references, conditions, whole clusters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from orbit_core.limits import RUN_SLA_MAX_MS
from orbit_core.spec.durations import format_duration_ms, parse_duration_ms
from orbit_core.spec.expressions import parse_expression
from orbit_core.spec.loader import load, load_document
from orbit_core.spec.models import Cluster, ClusterFile
from orbit_core.spec.quantities import format_bytes, parse_bytes
from orbit_core.spec.references import (
    ClusterReference,
    FailureReference,
    OutputReference,
    OutputsReference,
    Reference,
    SecretReference,
    TriggerReference,
    parse_reference,
    parse_template,
)
from orbit_core.spec.resolve import Values, fill_secrets, resolve, resolve_open
from orbit_core.spec.schemas import parse_output_schema
from orbit_core.spec.yaml_text import write

names = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in ("run", "output", "outputs")
)
secret_names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=20)
plain_texts = texts.filter(lambda text: "${{" not in text)
json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


# Small texts


@given(st.integers(0, 10 * RUN_SLA_MAX_MS))
def test_durations(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration_ms(duration_ms)) == duration_ms


@given(st.integers(0, 2**53))
def test_amounts_of_memory(amount: int) -> None:
    assert parse_bytes(format_bytes(amount)) == amount


keys = st.text(
    st.characters(codec="utf-8", exclude_characters="'\"", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6
)
paths = st.lists(keys | st.integers(0, 999), max_size=4).map(tuple)
steps_named = st.lists(names, min_size=1, max_size=3).map(".".join)
references: st.SearchStrategy[Reference] = st.one_of(
    secret_names.map(SecretReference),
    st.builds(OutputReference, steps_named, paths),
    st.builds(OutputsReference, steps_named, paths),
    st.sampled_from(["error", "satellite"]).map(FailureReference),
    st.sampled_from(["identifier", "run-id", "sla"]).map(ClusterReference),
    paths.map(TriggerReference),
)


@given(references)
def test_references(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference
    assert parse_template(f"${{{{ {reference} }}}}") == (reference,)


@given(plain_texts, references, plain_texts)
def test_a_reference_in_a_text(before: str, reference: Reference, after: str) -> None:
    before, after = before.rstrip("$"), after
    parts = parse_template(f"{before}${{{{{reference}}}}}{after}")
    assert [part for part in parts if part != ""] == [part for part in (before, reference, after) if part != ""]


conditions = st.recursive(
    st.sampled_from(["true", "false", "trigger.ok", "satellites.a.output.n > 1", "'x' == trigger.k", "1 <= 2.5"]),
    lambda inner: st.one_of(
        inner.map(lambda text: f"!({text})"),
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(
            lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
        ),
        inner.map(lambda text: f"${{{{ {text} }}}}"),
    ),
    max_leaves=8,
)


@given(conditions, st.booleans())
def test_braces_and_parentheses_change_nothing(text: str, parentheses: bool) -> None:
    around = f"({text})" if parentheses else f"${{{{ {text} }}}}"
    assert parse_expression(around) == parse_expression(text)


# Values


@given(st.dictionaries(texts, json_values, max_size=4), st.dictionaries(secret_names, texts, max_size=3))
def test_one_pass_leaves_any_data_as_it_is(data: dict[str, JsonValue], secrets: dict[str, str]) -> None:
    scope = Values(output_by_step={"a": data}, trigger=data)
    template: JsonValue = {"whole": "${{ satellites.a.output }}", "n": ["${{ trigger }}"]}
    assert resolve(template, scope, secrets) == {"whole": data, "n": [data]}
    assert fill_secrets(resolve_open(template, scope), secrets) == {"whole": data, "n": [data]}


@given(st.lists(plain_texts | secret_names.map(SecretReference) | st.just(TriggerReference(("k",))), max_size=6), texts)
def test_secrets_filled_in_at_once_or_later_are_the_same(parts: list[Any], data: str) -> None:
    text = "".join(part.rstrip("$") if isinstance(part, str) else f"${{{{ {part} }}}}" for part in parts)
    secrets = {part.name: f"<{part.name}>" for part in parts if isinstance(part, SecretReference)}
    scope = Values(trigger={"k": data})
    value: JsonValue = {"x": [text]}
    assert resolve(value, scope, secrets) == fill_secrets(resolve_open(value, scope), secrets)


# Output schemas


def _object(members: Iterable[str]) -> str:
    return "{" + ", ".join(members) + "}"


types = st.recursive(
    st.sampled_from(["string", "number", "integer", "boolean", '"a" | "b"', '"only"']),
    lambda inner: st.one_of(
        inner.map(lambda text: f"[{text}]"),
        st.lists(st.tuples(names, st.booleans(), inner), max_size=4, unique_by=lambda member: member[0]).map(
            lambda members: _object(f'"{key}"{"?" if optional else ""}: {text}' for key, optional, text in members)
        ),
    ),
    max_leaves=8,
)


@given(st.lists(st.tuples(names, types), max_size=4, unique_by=lambda member: member[0]), st.booleans())
def test_a_short_schema_is_json_schema_once_read(members: list[tuple[str, str]], comma: bool) -> None:
    text = _object([*(f'"{key}": {kind}' for key, kind in members), *([""] if comma and members else [])])
    schema = parse_output_schema(text)
    assert list(schema["properties"]) == [key for key, _ in members]  # type: ignore[arg-type]
    assert parse_output_schema(json.dumps(schema)) == schema
    assert parse_output_schema(schema) == schema


# Clusters


@st.composite
def durations(draw: st.DrawFn) -> str:
    return format_duration_ms(draw(st.integers(1, 1_000_000)))


@st.composite
def retries(draw: st.DrawFn) -> Any:
    if draw(st.booleans()):
        return draw(st.integers(0, 100))
    fields = {
        "max-retries": st.integers(0, 100),
        "backoff": st.sampled_from(["exponential", "linear", "fixed"]),
        "delay": durations(),
        "max-delay": durations(),
        "jitter": st.sampled_from(["full", "none"]),
    }
    return draw(st.fixed_dictionaries({}, optional=fields))


resources = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from([0.5, 2, "500m"]),
        "memory": st.sampled_from(["512Mi", 1_000, "1.5GB"]),
        "gpu": st.sampled_from([0, 0.25, 2]),
        "gpu-memory": st.just("8Gi"),
        "accelerator": st.just("h100"),
    },
)


@st.composite
def blocks(draw: st.DrawFn, prefix: str, most: int, gathers: bool = True) -> list[dict[str, Any]]:
    """Steps with unique identifiers, needs that point backwards, and gathers that are left to their default."""
    steps: list[dict[str, Any]] = []
    for index in range(draw(st.integers(1, most))):
        above = [step["identifier"] for step in steps]
        step: dict[str, Any] = {"uses": "satellite/acme/any", "identifier": f"{prefix}{draw(names)}.{index}"}
        optional = {
            "name": texts,
            "config": st.dictionaries(names, json_values, max_size=3).map(_without_references),
            "input": st.dictionaries(names, json_values, max_size=3).map(_without_references),
            "needs": st.lists(st.sampled_from(above), unique=True, max_size=3) if above else st.just([]),
            "retries": retries(),
            "delay": durations(),
            "timeout": durations(),
            "resources": resources,
            "if": conditions.filter(lambda text: "satellites" not in text) | st.booleans(),
        }
        step |= draw(st.fixed_dictionaries({}, optional=optional))
        if gathers and step.get("needs", above[-1:]) and draw(st.booleans()):
            step["gather"] = draw(st.sampled_from([True, {}, {"over": "run"}, {"when": "all-ended"}]))
        steps.append(step)
    return steps


def _without_references(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_references(item) for key, item in value.items() if key != "secrets"}
    if isinstance(value, list):
        return [_without_references(item) for item in value]
    return value.replace("${{", "") if isinstance(value, str) else value


triggers = st.sampled_from(
    [
        {"cron": "0 0 * * *"},
        {"cron": "*/5 * * * *", "timezone": "Europe/Berlin", "catch-up": "none"},
        {"api-call": True},
        {"s3-upload": {"bucket": "b", "prefix": "p/", "secrets": {"K": None}}},
        {"webhook": {"path": "/a", "secret": "${{ secrets.S }}"}},
        {"webhook": {"path": "/b/c"}},
        {"cluster-finished": "acme/other"},
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    main = draw(blocks("m", 6))
    cluster: dict[str, Any] = {
        "identifier": f"{draw(names)}/{draw(names)}",
        "sla": "7d",
        "trigger": draw(triggers | st.lists(triggers, min_size=1, max_size=3)),
        "satellites": main,
    }
    cluster |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "title": texts,
                "description": texts,
                "objective": st.sampled_from(["cost", "time", "availability"]),
                "budget": st.sampled_from([1, 2.5, 1e6]),
                "priority": st.integers(0, 100),
                "retries": retries(),
                "secrets": st.dictionaries(
                    secret_names, st.none() | plain_texts | st.just("${{ secrets.X }}"), max_size=3
                ),
                "logs": blocks("l", 2, gathers=False).map(lambda steps: {"satellites": steps}),
                "failure": blocks("f", 2).map(lambda steps: {"from": main[0]["identifier"], "satellites": steps}),
            },
        )
    )
    return {"version": "0.0.1b", "cluster": cluster}


@settings(max_examples=60)
@given(documents())
def test_clusters(document: dict[str, Any]) -> None:
    cluster = load_document(document).unwrap()
    assert load(write(document)).unwrap() == cluster
    written = ClusterFile(version="0.0.1b", cluster=cluster).to_document()
    assert load_document(written).unwrap() == cluster
    assert load(write(written)).unwrap() == cluster
    assert load(json.dumps(written, ensure_ascii=False)).unwrap() == cluster
    assert Cluster.model_validate_json(cluster.model_dump_json()) == cluster
    stripped, values = cluster.without_secret_values()
    assert all(secret.value is None for secret in stripped.secrets)
    assert load_document({"version": "0.0.1b", "cluster": stripped.to_document()}).unwrap() == stripped
    assert set(values) == {secret.name for secret in cluster.secrets if secret.value is not None}
