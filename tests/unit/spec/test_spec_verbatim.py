"""Grammars that quote, as llguidance understands them: what is in the text, word for word, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llguidance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbit_core.spec.verbatim import check_verbatim, quoting_grammar

TINY = Path(__file__).parents[2] / "data" / "tiny_llm"
TOKENIZER = llguidance.LLTokenizer((TINY / "tokenizer.json").read_text(encoding="utf-8"))

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "pages": {"$ref": "#/$defs/count"},
        "city": {"type": ["string", "null"]},
        "net": {"type": "number"},
    },
    "required": ["name", "net"],
    "$defs": {"count": {"type": "integer"}},
}
TEXT = 'From: "Big\\ Corp."\nLtd of  Zürich\n\nand 5 more'


def accepts(grammar: str, answer: str) -> bool:
    matcher = llguidance.LLMatcher(TOKENIZER, grammar, log_level=0)
    assert not matcher.get_error()
    return all(matcher.consume_token(token) for token in TOKENIZER.tokenize_str(answer)) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"name":"Big","net":1}', True),
        ('{"name":"Corp.\\" Ltd of Zürich","pages":3,"city":null,"net":1.5}', True),
        ('{"name":"\\"Big\\\\ Corp.\\"","city":"Ltd","net":1}', True),
        ('{"name":"Bi","net":1}', False),
        ('{"name":"big","net":1}', False),
        ('{"name":"","net":1}', False),
        ('{"name":"Big ","net":1}', False),
        ('{"name":null,"net":1}', False),
        ('{"name":"Zürich and","net":1}', False),
        ('{"name":"of Ltd","net":1}', False),
        ('{"pages":3,"net":1}', False),
        ('{"name":"Big","net":"1"}', False),
        ('{"name":"Big","net":1', False),
        ('{"net":1,"name":"Big"}', False),
    ],
)
def test_what_is_quoted_stands_in_the_text(answer: str, right: bool) -> None:
    assert accepts(quoting_grammar(SCHEMA, ["name", "city"], TEXT), answer) is right


def test_properties_that_are_all_optional_may_all_be_left_out() -> None:
    schema = SCHEMA | {"required": []}
    grammar = quoting_grammar(schema, ["name"], TEXT)
    for answer in ("{}", '{"city":"x"}', '{"name":"more","net":2}'):
        assert accepts(grammar, answer)
    assert not accepts(grammar, '{,"net":2}')


def test_of_a_text_without_words_nothing_can_be_quoted() -> None:
    grammar = quoting_grammar(SCHEMA, ["name", "city"], " \n")
    assert not accepts(grammar, '{"name":"x","net":1}')
    assert accepts(quoting_grammar(SCHEMA | {"required": []}, ["city"], ""), '{"city":null}')


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z", "M"]), min_size=1, max_size=6)


@given(words=st.lists(words, min_size=1, max_size=12), data=st.data())
def test_every_run_of_words_can_be_quoted(words: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    breaks = data.draw(st.lists(st.sampled_from([" ", "\n", "  "]), min_size=len(words), max_size=len(words)))
    text = "".join(word + gap for word, gap in zip(words, breaks, strict=True))
    answer = json.dumps(
        {"name": " ".join(words[first : last + 1]), "net": 1}, ensure_ascii=False, separators=(",", ":")
    )
    assert accepts(quoting_grammar(SCHEMA, ["name"], text), answer)


@pytest.mark.parametrize(
    ("schema", "names", "says"),
    [
        (SCHEMA, ["nme"], "names 'nme', which is not a property of the schema (known: name, pages, city, net)"),
        (SCHEMA, ["net"], "names 'net', which is not a text"),
        (SCHEMA, ["pages"], "names 'pages', which is not a text"),
        ({"type": "array"}, ["name"], "this one is not of an object"),
        (SCHEMA | {"anyOf": [{}]}, ["name"], "this one has anyOf"),
    ],
)
def test_what_cannot_be_quoted_is_refused(schema: dict[str, Any], names: list[str], says: str) -> None:
    with pytest.raises(ValueError, match="verbatim") as refused:
        check_verbatim(schema, names)
    assert says in str(refused.value)
