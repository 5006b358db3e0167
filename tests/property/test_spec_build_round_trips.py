"""Clusters as Python objects say what files say: from either to the other nothing is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from orbit_core.spec.build import (
    ApiCall,
    Cluster,
    ClusterFinished,
    Cron,
    Failure,
    Gather,
    Resources,
    Retry,
    S3Upload,
    Step,
    Trigger,
    Webhook,
)
from orbit_core.spec.diagnostics import Reporter
from orbit_core.spec.loader import load, load_document
from orbit_core.spec.yaml_source import read
from orbit_core.spec.yaml_text import write
from tests.property.test_spec_round_trips import documents


@settings(max_examples=60)
@given(documents())
def test_a_file_read_into_objects_and_written_again(document: dict[str, Any]) -> None:
    meant = load_document(document).unwrap()
    cluster = Cluster.from_yaml(write(document))
    assert cluster.build() == meant
    assert load(cluster.to_yaml()).unwrap() == meant
    assert Cluster.from_yaml(cluster.to_yaml()) == cluster


@settings(max_examples=60)
@given(documents())
def test_objects_built_by_hand_mean_what_the_file_means(document: dict[str, Any]) -> None:
    cluster = _by_hand(document["cluster"])
    assert cluster.build() == load_document(document).unwrap()
    assert Cluster.from_yaml(cluster.to_yaml()).build() == cluster.build()


def _by_hand(said: dict[str, Any]) -> Cluster:
    """The objects that somebody would write for this file, with the file's own shorthands."""
    triggers = said["trigger"]
    failure = said.get("failure")
    return Cluster(
        said["identifier"],
        said["sla"],
        [_trigger(each) for each in (triggers if isinstance(triggers, list) else [triggers])],
        [_step(each) for each in said["satellites"]],
        title=said.get("title"),
        description=said.get("description"),
        objective=said.get("objective"),
        budget_usd=said.get("budget"),
        priority=said.get("priority"),
        retries=_retries(said.get("retries")),
        secrets=said.get("secrets", ()),
        logs=[_step(each) for each in said["logs"]["satellites"]] if "logs" in said else (),
        failure=Failure(failure["from"], [_step(each) for each in failure["satellites"]]) if failure else None,
    )


def _trigger(said: dict[str, Any]) -> Trigger:
    (kind,) = set(said) - {"timezone", "catch-up"}
    match kind:
        case "cron":
            return Cron(said["cron"], said.get("timezone"), said.get("catch-up"))
        case "s3-upload":
            return S3Upload(**said[kind])
        case "webhook":
            return Webhook(**said[kind])
        case "cluster-finished":
            return ClusterFinished(said[kind])
        case _:
            return ApiCall()


def _step(said: dict[str, Any]) -> Step:
    fields = {"if": "condition"}
    given = {fields.get(key, key): value for key, value in said.items()}
    if isinstance(given.get("gather"), dict):
        given["gather"] = Gather(**given["gather"])
    if "resources" in given:
        given["resources"] = Resources(**_snake(given["resources"]))
    return Step(**{**given, "retries": _retries(said.get("retries"))})


def _retries(said: Any) -> Retry | int | None:
    return Retry(**_snake(said)) if isinstance(said, dict) else said


def _snake(said: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in said.items()}


# The text

texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], include_characters="\n", exclude_characters="\x7f")
    .filter(lambda character: character in "\n\t" or character.isprintable()),
    max_size=30,
) | st.sampled_from(
    ["1e3", "0o17", "0x1F", "1_000", "12:30:45", "no", "True", "~", "null", ".inf", "-.INF", ".nan", "=", "<<", "",
     "2026-01-31", " a\n b\n", "a\n\n", "a\n b", "#", "- a", "a: b", "|", "'", "%a", "1.", "+.5", "-0", "01"]
)  # fmt: skip
values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_any_document_is_read_as_it_was_written(document: dict[str, JsonValue]) -> None:
    reporter = Reporter("<written>")
    node = read(write(document), reporter)
    assert node is not None, [each.format() for each in reporter.diagnostics()]
    assert node.plain() == document
    assert _kinds(node.plain()) == _kinds(document)


def _kinds(value: Any) -> Any:
    """The types, which equality of numbers does not see."""
    if isinstance(value, dict):
        return {key: _kinds(item) for key, item in value.items()}
    return [_kinds(item) for item in value] if isinstance(value, list) else type(value)
