"""What is asked of every contender: the same prompts, the same limits, the same schemas. Seeded, plain data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tools.make_tiny_llm import training_text

PROMPT_TOKENS = 64
NEW_TOKENS = 64
MIXED_REQUESTS = 64
INSTRUCTION_TOKENS = 48
CONCURRENCIES = (1, 4, 16, 64)

#: What fields are extracted from a report: the kind of schema that background work asks for.
_REPORT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "company": {"type": "string", "minLength": 2, "maxLength": 24},
        "quarter": {"enum": ["Q1", "Q2", "Q3", "Q4"]},
        "year": {"type": "integer", "minimum": 2000, "maximum": 2030},
        "revenue_usd": {"type": "integer", "minimum": 0, "maximum": 99_999_999},
        "profitable": {"type": "boolean"},
    },
    "required": ["company", "quarter", "year", "revenue_usd", "profitable"],
    "additionalProperties": False,
}
_PEOPLE: dict[str, Any] = {
    "type": "array",
    "minItems": 2,
    "maxItems": 3,
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 16}, "role": {"enum": ["author", "editor", "reader"]}},
        "required": ["name", "role"],
        "additionalProperties": False,
    },
}
_VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad", "unclear"]}, "reason": {"type": "string", "maxLength": 60}},
    "required": ["label", "reason"],
    "additionalProperties": False,
}
_SCHEMAS = (_REPORT, _PEOPLE, _VERDICT)

#: Nothing in it is forced, so every token is masked and drawn: the dearest a schema can be.
FREE_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 2_000}


@dataclass(frozen=True, slots=True)
class Item:
    """One request: the prompt as text and as the same tokens, how much may be made, and the schema."""

    text: str
    tokens: tuple[int, ...]
    new_tokens: int
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Rounds of requests that are all there at once; no prompt comes twice."""

    name: str
    rounds: tuple[tuple[Item, ...], ...]


class Prompts:
    """Makes texts that come to an exact number of tokens, and to the same tokens when they are read again."""

    def __init__(self, model: Path, seed: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._lines = training_text(800, seed=1)
        self._draw = random.Random(seed)

    def item(self, tokens: int, new_tokens: int, schema: dict[str, Any] | None = None, before: str = "") -> Item:
        """A request with a prompt of `tokens` tokens, which begins with `before`."""
        while True:
            # A number at the start: no two prompts share what a cache of prefixes could use.
            start = f"{before}{self._draw.getrandbits(48)} "
            lines = "".join(self._draw.sample(self._lines, 12 + tokens // 4))
            ids = self._tokenizer.encode(start + lines).ids[:tokens]
            text = self._tokenizer.decode(ids)
            if self._tokenizer.encode(text).ids == ids:
                return Item(text, tuple(ids), new_tokens, schema)

    def items(self, count: int) -> tuple[Item, ...]:
        """Requests of equal size."""
        return tuple(self.item(PROMPT_TOKENS, NEW_TOKENS) for _ in range(count))


def loads(model: Path, repeat: int, rounds: Sequence[int]) -> list[Load]:
    """Everything that is asked in one repeat; `rounds` for each of `CONCURRENCIES`."""
    prompts = Prompts(model, seed=repeat)
    even = [
        Load(str(count), tuple(prompts.items(count) for _ in range(repeats)))
        for count, repeats in zip(CONCURRENCIES, rounds, strict=True)
    ]
    first = tuple((prompts.item(PROMPT_TOKENS, 1),) for _ in range(5))
    return [*even, Load("mixed", (mixed(prompts),)), Load("steps", (steps(prompts),)), Load("first", first)]


def mixed(prompts: Prompts) -> tuple[Item, ...]:
    """Prompts and answers of many lengths; every second request has one of three schemas."""
    draw = random.Random(5)
    return tuple(
        prompts.item(
            draw.randint(16, 112),
            96 if place % 2 else draw.randint(16, 96),
            _SCHEMAS[place // 2 % len(_SCHEMAS)] if place % 2 else None,
        )
        for place in range(MIXED_REQUESTS)
    )


def steps(prompts: Prompts) -> tuple[Item, ...]:
    """The same as steps of clusters ask it: requests of one step begin with the same instructions."""
    draw = random.Random(6)
    instructions = [prompts.item(INSTRUCTION_TOKENS, 1).text for _ in range(len(_SCHEMAS) + 1)]
    items: list[Item] = []
    for place in range(MIXED_REQUESTS):
        step = place // 2 % len(_SCHEMAS) if place % 2 else len(_SCHEMAS)
        schema = _SCHEMAS[step] if place % 2 else None
        tokens = INSTRUCTION_TOKENS + draw.randint(16, 64)
        items.append(prompts.item(tokens, 96 if place % 2 else draw.randint(16, 96), schema, instructions[step]))
    return tuple(items)


def guided_loads(model: Path, repeat: int, count: int) -> tuple[Load, Load]:
    """Equal requests without a schema, and with one that leaves every token open."""
    prompts = Prompts(model, seed=1_000 + repeat)
    held = tuple(Item(i.text, i.tokens, i.new_tokens, FREE_TEXT_SCHEMA) for i in prompts.items(count))
    return Load("free", (prompts.items(count),)), Load("guided", (held,))
