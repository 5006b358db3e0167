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
    """Requests that are all there at once, and how often that is repeated in one measurement."""

    name: str
    items: tuple[Item, ...]
    rounds: int


class Prompts:
    """Makes texts that come to an exact number of tokens, and to the same tokens when they are read again."""

    def __init__(self, model: Path, seed: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._lines = training_text(800, seed=1)
        self._draw = random.Random(seed)

    def item(self, tokens: int, new_tokens: int, schema: dict[str, Any] | None = None) -> Item:
        """A request with a prompt of `tokens` tokens."""
        while True:
            ids = self._tokenizer.encode("".join(self._draw.sample(self._lines, 12 + tokens // 4))).ids[:tokens]
            text = self._tokenizer.decode(ids)
            if self._tokenizer.encode(text).ids == ids:
                return Item(text, tuple(ids), new_tokens, schema)


def even_loads(model: Path, rounds: Sequence[int]) -> list[Load]:
    """Equal prompts and answers at each concurrency; `rounds` for each."""
    prompts = Prompts(model, seed=3)
    return [
        Load(str(count), tuple(prompts.item(PROMPT_TOKENS, NEW_TOKENS) for _ in range(count)), repeats)
        for count, repeats in zip(CONCURRENCIES, rounds, strict=True)
    ]


def mixed_load(model: Path) -> Load:
    """Prompts and answers of many lengths; every second request has one of three schemas."""
    prompts, draw = Prompts(model, seed=4), random.Random(5)
    items = [
        prompts.item(
            draw.randint(16, 112),
            96 if place % 2 else draw.randint(16, 96),
            _SCHEMAS[place // 2 % len(_SCHEMAS)] if place % 2 else None,
        )
        for place in range(MIXED_REQUESTS)
    ]
    return Load("mixed", tuple(items), 1)


def guided_loads(model: Path, count: int) -> tuple[Load, Load]:
    """The same prompts and lengths without a schema, and with one that leaves every token open."""
    prompts = Prompts(model, seed=6)
    free = tuple(prompts.item(PROMPT_TOKENS, NEW_TOKENS) for _ in range(count))
    held = tuple(Item(i.text, i.tokens, i.new_tokens, FREE_TEXT_SCHEMA) for i in free)
    return Load("free", free, 1), Load("guided", held, 1)


def first_token_load(model: Path) -> Load:
    """One prompt, one token: what a request alone waits for its first token."""
    return Load("first", (Prompts(model, seed=7).item(PROMPT_TOKENS, 1),), 5)
