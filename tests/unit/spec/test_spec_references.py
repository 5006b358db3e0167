from __future__ import annotations

import pytest
from pydantic import JsonValue

from orbit_core.spec.references import (
    ClusterReference,
    FailureReference,
    OutputReference,
    OutputsReference,
    Reference,
    ReferenceAt,
    SecretReference,
    TriggerReference,
    occurrences,
    parse_reference,
    parse_template,
    references_in,
)
from orbit_core.spec.text_error import TextError

READS: list[tuple[str, Reference]] = [
    ("secrets.NAME", SecretReference("NAME")),
    ("secrets.api-key", SecretReference("api-key")),
    ("satellites.a.output", OutputReference("a")),
    ("satellites.get-files-from-s3.output.file-path", OutputReference("get-files-from-s3", ("file-path",))),
    ("satellites.parse.v2.output.key", OutputReference("parse.v2", ("key",))),
    ("satellites.a.output.items[0]", OutputReference("a", ("items", 0))),
    ("satellites.a.output[2].b[10].c", OutputReference("a", (2, "b", 10, "c"))),
    ("satellites.a.output.output", OutputReference("a", ("output",))),
    ("satellites.output.output.outputs", OutputReference("output", ("outputs",))),
    ("satellites.a.output['odd key'].b", OutputReference("a", ("odd key", "b"))),
    ('satellites.a.output["it\'s"]', OutputReference("a", ("it's",))),
    ("satellites.a.output['}}']", OutputReference("a", ("}}",))),
    ("satellites.a.output.größe", OutputReference("a", ("größe",))),
    ("satellites.a.output.0", OutputReference("a", ("0",))),
    ("satellites.a.outputs", OutputsReference("a")),
    ("satellites.a.outputs[0].key", OutputsReference("a", (0, "key"))),
    ("satellites.a.outputs.output", OutputsReference("a", ("output",))),
    ("failure.error", FailureReference("error")),
    ("failure.satellite", FailureReference("satellite")),
    ("cluster.identifier", ClusterReference("identifier")),
    ("cluster.run-id", ClusterReference("run-id")),
    ("trigger", TriggerReference()),
    ("trigger.key", TriggerReference(("key",))),
    ("trigger.records[0].name", TriggerReference(("records", 0, "name"))),
]


@pytest.mark.parametrize(("text", "reference"), READS)
def test_a_reference_reads_as_and_writes_back(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert parse_reference(f"  {text}\n") == reference
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize("opening", ["${{", "$${{"])
@pytest.mark.parametrize(("text", "reference"), READS)
def test_a_reference_between_braces(opening: str, text: str, reference: Reference) -> None:
    assert parse_template(f"{opening}{text}}}}}") == (reference,)
    assert parse_template(f"{opening} {text} }}}}") == (reference,)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("  ", 2),
        ("satellites", 0),
        ("satellites.a", 0),
        ("satellites.a.result", 0),
        ("satellites.output", 0),
        ("satellites[0].output", 0),
        ("satellites.a[0].output", 0),
        ("secrets", 0),
        ("secrets.A.B", 0),
        ("secrets[0]", 0),
        ("cluster.name", 0),
        ("cluster.sla.x", 0),
        ("failure.error.message", 0),
        ("steps.a.output", 0),
        ("satellites.a.output.", 20),
        ("satellites.a..output", 13),
        ("satellites.a.output[-1]", 19),
        ("satellites.a.output[x]", 19),
        ("satellites.a.output[0", 19),
        ("satellites.a.output + 1", 20),
        ("satellites.a.output satellites.b.output", 20),
        ("'text'", 0),
        ("a b", 0),
    ],
)
def test_what_is_no_reference_and_where_it_ends_to_be_one(text: str, offset: int) -> None:
    with pytest.raises(TextError) as caught:
        parse_reference(text)
    assert caught.value.offset == offset


def test_offsets_count_from_the_text_around() -> None:
    text = "Hello ${{ nothing.here }}"
    (found,) = occurrences(text)
    assert isinstance(found.reference, TextError)
    assert text[found.reference.offset :].startswith("nothing.here")


def test_a_text_of_several_parts() -> None:
    assert parse_template("a ${{secrets.A}}$${{ trigger }} b") == (
        "a ",
        SecretReference("A"),
        TriggerReference(),
        " b",
    )


@pytest.mark.parametrize("text", ["", "plain", "$ {{ a }}", "{{ a }}", "$${ a }", "}} ${", "$$"])
def test_a_text_without_references_stays_one_part(text: str) -> None:
    assert parse_template(text) == ((text,) if text else ())


def test_braces_that_are_never_closed_end_the_search() -> None:
    found = list(occurrences("${{ secrets.A }} ${{ secrets.B ${{ secrets.C"))
    assert [type(occurrence.reference) for occurrence in found] == [SecretReference, TextError]
    assert found[1].start == 17
    with pytest.raises(TextError, match="never closed"):
        parse_template("${{ secrets.A")


def test_an_apostrophe_does_not_swallow_the_rest() -> None:
    found = list(occurrences("${{ it's }} and ${{ secrets.B }}"))
    assert isinstance(found[0].reference, TextError)
    assert found[1].reference == SecretReference("B")


def test_many_unclosed_braces_are_read_in_one_go() -> None:
    assert len(list(occurrences("${{ a'" * 100_000))) == 1


def test_references_in_a_value_come_with_their_paths() -> None:
    value: JsonValue = {"a": ["x", "to ${{ secrets.A }}"], "b": {"c": "${{trigger.k}}"}, "${{ secrets.B }}": 1}
    assert references_in(value) == [
        ReferenceAt(("a", 1), 3, 19, SecretReference("A")),
        ReferenceAt(("b", "c"), 0, 14, TriggerReference(("k",))),
    ]


def test_a_reference_that_does_not_read_is_refused() -> None:
    with pytest.raises(TextError):
        references_in(["${{ a.b }}"])


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("satelites.a.output", "satellites.a.output"),
        ("secret.A", "secrets.A"),
        ("satellites.a.ouput", "satellites.a.output"),
        ("cluster.run_id", "cluster.run-id"),
        ("failure.errors", "failure.error"),
        ("xyz.a", None),
    ],
)
def test_a_close_word_is_suggested(text: str, suggestion: str | None) -> None:
    with pytest.raises(TextError) as caught:
        parse_reference(text)
    assert caught.value.suggestion == suggestion
