"""Holds output to a JSON Schema while it is decoded (llguidance), and says at submission which schemas can be held.

Output follows the schema's own property order and has no free whitespace (a quarter of the tokens), so a schema
is never sorted. Refused, among others: uniqueItems, not, if/then, contains, unevaluatedProperties, an external
$ref, lookaround in patterns. The finished text is validated once more by whoever asked for it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

import llguidance
import llguidance.numpy
import numpy as np
import numpy.typing as npt

from orbit_agent.inference.errors import UnsupportedSchemaError
from orbit_core.spec.verbatim import quoting_grammar

_CACHED_GRAMMARS: Final = 256
_OPTIONS: Final[Any] = {"whitespace_flexible": False}


def _grammar(schema: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError) as error:
        raise UnsupportedSchemaError(f"the schema is no JSON: {error}") from error
    return llguidance.LLMatcher.grammar_from_json_schema(text, defaults=_OPTIONS)


def check_grammar(grammar: str, tokenizer: llguidance.LLTokenizer | None = None) -> None:
    """Raises `UnsupportedSchemaError` for a grammar that no answer, or none in these tokens, could be held to."""
    failed, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar, tokenizer)
    if failed:
        raise UnsupportedSchemaError(
            f"the schema cannot be held while decoding: {'; '.join(messages)[:1000]}",
            remedy="leave that keyword out and check it in a later step",
        )


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises `UnsupportedSchemaError` for a schema that no model here could be held to. Needs no model."""
    check_grammar(_grammar(schema))


def quoting(schema: Mapping[str, Any], names: Sequence[str], text: str) -> str:
    """The grammar of `schema` with the texts `names` taken from `text`. Raises `UnsupportedSchemaError`."""
    try:
        return quoting_grammar(schema, names, text)
    except ValueError as error:
        raise UnsupportedSchemaError(str(error)) from error


class Guide:
    """Where one output stands in its grammar."""

    __slots__ = ("_matcher",)

    def __init__(self, matcher: llguidance.LLMatcher) -> None:
        self._matcher = matcher

    def accept(self, token: int) -> bool:
        """Takes `token`; false where the grammar does not allow it, which a masked draw never does."""
        return self._matcher.consume_token(token)

    def finished(self) -> bool:
        """The output is complete: nothing but the end may follow."""
        return self._matcher.is_stopped()

    def forced(self) -> list[int]:
        """The tokens that must come next whatever the model says: property names, punctuation."""
        return self._matcher.compute_ff_tokens()


class Guidance:
    """The grammars of one model: compiled once for each schema, copied for each request. Thread-safe."""

    def __init__(self, folder: Path, vocabulary: int, eos_ids: Sequence[int], threads: int) -> None:
        self._source = folder / "tokenizer.json"
        self._vocabulary = vocabulary
        self._eos_ids = list(eos_ids)
        self._tokenizer: llguidance.LLTokenizer | None = None
        self._executor = llguidance.LLExecutor(num_threads=threads)
        self._compiled: OrderedDict[str, llguidance.LLMatcher] = OrderedDict()
        self._lock = Lock()
        self._masks = llguidance.numpy.allocate_token_bitmask(1, vocabulary)

    def guide(self, schema: Mapping[str, Any]) -> Guide:
        """A fresh guide; raises `UnsupportedSchemaError`."""
        grammar = _grammar(schema)
        with self._lock:
            matcher = self._compiled.get(grammar)
            if matcher is None:
                matcher = self._compiled[grammar] = self._compile(grammar)
            self._compiled.move_to_end(grammar)
            while len(self._compiled) > _CACHED_GRAMMARS:
                self._compiled.popitem(last=False)
            return Guide(matcher.deep_copy())

    def quoting(self, schema: Mapping[str, Any], names: Sequence[str], text: str) -> Guide:
        """A guide that takes the texts `names` of `schema` from `text`; raises `UnsupportedSchemaError`.

        It is made for one request: no other has the same text.
        """
        grammar = quoting(schema, names, text)
        with self._lock:
            return Guide(self._compile(grammar))

    def _compile(self, grammar: str) -> llguidance.LLMatcher:
        if self._tokenizer is None:
            # A large vocabulary takes a second to read in: not before the first schema needs it.
            source = self._source.read_text(encoding="utf-8")
            self._tokenizer = llguidance.LLTokenizer(source, n_vocab=self._vocabulary, eos_token=self._eos_ids)
        check_grammar(grammar, self._tokenizer)
        return llguidance.LLMatcher(self._tokenizer, grammar)

    def mask(self, logits: npt.NDArray[np.float32], guides: Sequence[tuple[int, Guide]]) -> None:
        """Sets to minus infinity what the guide of each (row, guide) does not allow. `logits`: [rows, vocabulary]."""
        if not guides:
            return
        if len(self._masks) < len(guides):
            self._masks = llguidance.numpy.allocate_token_bitmask(len(guides), self._vocabulary)
        masks = self._masks[: len(guides)]
        pairs = [(guide._matcher, place) for place, (_, guide) in enumerate(guides)]
        llguidance.numpy.fill_next_token_bitmask_par(self._executor, pairs, masks)
        # Bit i of byte b stands for token 8 b + i; the last word may reach beyond the vocabulary.
        allowed = np.unpackbits(masks.view(np.uint8), axis=1, count=self._vocabulary, bitorder="little")
        for place, (row, _) in enumerate(guides):
            logits[row][allowed[place] == 0] = -np.inf
