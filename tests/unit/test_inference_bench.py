"""What the inference benchmark asks: the same of every contender, and nothing twice that a cache could answer."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from bench.inference.workload import CONCURRENCIES, NEW_TOKENS, PROMPT_TOKENS, guided_loads, loads
from orbit_agent.inference.guidance import check_schema

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"


def test_no_prompt_is_asked_twice_in_a_repeat_or_across_repeats() -> None:
    texts = [
        item.text
        for repeat in range(2)
        for load in [*loads(TINY, repeat, (2, 2, 1, 1)), *guided_loads(TINY, repeat, 4)]
        for items in load.rounds
        for item in items
    ]
    assert len(texts) == len(set(texts))


def test_texts_and_tokens_are_the_same_prompt() -> None:
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    for load in loads(TINY, 0, (1, 1, 1, 1)):
        for items in load.rounds:
            assert all(tuple(tokenizer.encode(item.text).ids) == item.tokens for item in items)


def test_each_concurrency_is_so_many_equal_requests() -> None:
    by_name = {load.name: load for load in loads(TINY, 0, (3, 1, 1, 1))}
    assert len(by_name["1"].rounds) == 3
    for count in CONCURRENCIES:
        for items in by_name[str(count)].rounds:
            assert len(items) == count
            assert {(len(item.tokens), item.new_tokens) for item in items} == {(PROMPT_TOKENS, NEW_TOKENS)}


def test_every_schema_can_be_held() -> None:
    schemas = [
        item.schema
        for load in [*loads(TINY, 0, (1, 1, 1, 1)), *guided_loads(TINY, 0, 1)]
        for items in load.rounds
        for item in items
        if item.schema is not None
    ]
    assert len(schemas) > 60
    for schema in {str(schema): schema for schema in schemas}.values():
        check_schema(schema)


def test_requests_of_one_step_begin_alike() -> None:
    (steps,) = [load for load in loads(TINY, 0, (1, 1, 1, 1)) if load.name == "steps"]
    heads = {item.tokens[:40] for item in steps.rounds[0]}
    assert len(heads) == 4
