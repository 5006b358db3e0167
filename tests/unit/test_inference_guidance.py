"""Which schemas can be held while decoding, and what a held output looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orbit_agent.inference.errors import UnsupportedSchemaError
from orbit_agent.inference.guidance import Guidance, check_schema
from orbit_agent.inference.text import TextCodec

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"
VOCABULARY = 384
EOS = 2

REPORT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "zulu": {"type": "string", "maxLength": 4},
        "alpha": {"type": "integer", "minimum": 0, "maximum": 9},
        "mike": {"enum": ["up", "down"]},
    },
    "required": ["zulu", "alpha", "mike"],
    "additionalProperties": False,
}


@pytest.fixture
def guidance() -> Guidance:
    return Guidance(TINY, VOCABULARY, [EOS], threads=1)


def random_walk(guidance: Guidance, schema: dict[str, Any], seed: int) -> str:
    """The text that random logits give under `schema`."""
    codec, guide = TextCodec(TINY), guidance.guide(schema)
    draw = np.random.default_rng(seed)
    tokens: list[int] = []
    while not guide.finished():
        forced = guide.forced()
        if not forced:
            logits = draw.normal(size=(1, VOCABULARY)).astype(np.float32)
            guidance.mask(logits, [(0, guide)])
            forced = [int(logits[0].argmax())]
        for token in forced:
            if token == EOS:
                return codec.decode(tokens)
            assert guide.accept(token)
            tokens.append(token)
        assert len(tokens) < 500
    return codec.decode(tokens)


@pytest.mark.parametrize("seed", range(5))
def test_every_output_is_valid_compact_and_in_the_schemas_order(guidance: Guidance, seed: int) -> None:
    text = random_walk(guidance, REPORT, seed)
    value = json.loads(text)
    assert list(value) == ["zulu", "alpha", "mike"]
    assert value["mike"] in ("up", "down")
    assert text == json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def test_what_a_schema_leaves_no_choice_about_is_forced(guidance: Guidance) -> None:
    # Not the quote that follows: the next token may hold it together with what comes after.
    assert TextCodec(TINY).decode(guidance.guide(REPORT).forced()) == '{"zulu":'


def test_guides_of_one_schema_do_not_share_their_place(guidance: Guidance) -> None:
    first, second = guidance.guide(REPORT), guidance.guide(REPORT)
    for token in first.forced():
        assert first.accept(token)
    assert second.forced()


def test_rows_without_a_guide_are_left_alone(guidance: Guidance) -> None:
    logits = np.zeros((2, VOCABULARY), np.float32)
    guidance.mask(logits, [(1, guidance.guide(REPORT))])
    assert np.isfinite(logits[0]).all()
    assert np.isfinite(logits[1]).sum() < VOCABULARY


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "uniqueItems": True},
        {"not": {"type": "string"}},
        {"if": {"type": "string"}, "then": {"minLength": 2}},
        {"type": "array", "contains": {"type": "string"}},
        {"type": "object", "unevaluatedProperties": False},
        {"type": "string", "format": "postcode"},
        {"type": "string", "pattern": "(?=a)b"},
        {"$ref": "https://example.com/other.json"},
        {"type": "nonsense"},
    ],
)
def test_what_cannot_be_held_is_refused_at_submission(schema: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedSchemaError):
        check_schema(schema)


def test_what_can_be_held_is_accepted() -> None:
    check_schema(REPORT)
    check_schema({"$defs": {"n": {"type": "number"}}, "type": "array", "items": {"$ref": "#/$defs/n"}})


def test_a_refused_schema_is_refused_again_and_others_go_on(guidance: Guidance) -> None:
    for _ in range(2):
        with pytest.raises(UnsupportedSchemaError):
            guidance.guide({"not": {}})
    assert guidance.guide(REPORT).forced()
