"""Continuous batching of text generation on the CPU: who runs in which slot, and what each step computes.

Sequences that are being decoded lie in slots 0 to n - 1, so that one run advances all of them by a token; at most
one sequence is still taking in its prompt, in slot n. Each step takes in up to a chunk of prompt tokens, then
decodes once. A sequence that ends gives its slot to the last one. What a slot held stays there until it is
overwritten: a prompt that begins alike (the same instructions, say) copies that beginning and computes the rest.

Tokens that a schema leaves no choice about, and guesses (`lookup`), are run several at a time while sequences are
few. Every token that the model chooses is drawn here, so the text is that of one token at a time.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final

import numpy as np

from orbit_agent.inference.api import GenerateRequest
from orbit_agent.inference.backend import BackendInfo, LoadSettings, Outcome, Request, wrong_task
from orbit_agent.inference.decoder import DecoderSession, Floats
from orbit_agent.inference.errors import NoRoomError
from orbit_agent.inference.folder import DecoderFolder
from orbit_agent.inference.generation import Generation, begin
from orbit_agent.inference.guidance import Guidance
from orbit_agent.inference.lookup import HitRates, Match, WidthCost, guessed
from orbit_agent.inference.text import TextCodec

#: A shorter common beginning is computed again: copying it would save less than it costs to look for.
_REUSE_MIN_TOKENS: Final = 16
#: Prompts up to this length are taken in together: alone they would leave the processor waiting for weights.
_GROUP_MAX_TOKENS: Final = 64
#: The share of padding that a group of prompts may have.
_GROUP_MAX_PADDING: Final = 0.2


class BatchingBackend:
    """Generates text for many requests at once over one decoder."""

    def __init__(self, folder: DecoderFolder, settings: LoadSettings) -> None:
        self._guidance = Guidance(folder.path, folder.vocabulary, folder.eos_ids, settings.threads)
        self._session, self._codec = _open(folder, settings)
        self._slots = self._session.slots
        self._eos_ids = frozenset(folder.eos_ids)
        self._context_length = folder.context_length
        self._chunk = settings.prefill_chunk_tokens
        self._lookup = settings.lookup
        self._costs = [WidthCost(count) for count in range(1, self._session.most_together + 1)]
        self._rates = HitRates()
        self._keys: dict[Generation, int] = {}
        self._waiting: deque[Generation] = deque()
        self._complete: deque[Generation] = deque()
        self._incoming: Generation | None = None
        self._rows: list[Generation] = []
        self._held: list[list[int]] = [[] for _ in range(settings.max_slots)]
        self._cancelled: set[int] = set()
        self.info = BackendInfo(
            engine="batching",
            task="generate",
            provider=self._session.provider,
            context_length=folder.context_length,
            slots=settings.max_slots,
        )

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._keys)

    def prepare(self, request: Request) -> Generation:
        """Checks and tokenises; thread-safe."""
        if not isinstance(request, GenerateRequest):
            raise wrong_task(request, "generate")
        generation = begin(
            request,
            codec=self._codec,
            guidance=self._guidance,
            context_length=self._context_length,
            eos_ids=self._eos_ids,
        )
        if generation.longest > self._slots.budget_tokens:
            raise NoRoomError(
                f"prompt and answer may come to {generation.longest} tokens, the memory given to {request.model} "
                f"holds {self._slots.budget_tokens}",
                remedy="ask for fewer new tokens, shorten the prompt, or give the model server more memory",
            )
        return generation

    def admit(self, key: int, prepared: Generation) -> None:
        """Queues a prepared request."""
        self._keys[prepared] = key
        # A schema that leaves no choice at all has its whole text already.
        (self._waiting if prepared.finish is None else self._complete).append(prepared)

    def cancel(self, key: int) -> None:
        """Drops a request at the next step; its slot is free from then on."""
        self._cancelled.add(key)

    def step(self) -> list[tuple[int, Outcome]]:
        """Takes in at most a chunk of prompts, advances every sequence by at least a token."""
        self._drop_cancelled()
        taken = self._take_in()
        ended = [*self._complete, *self._release()]
        self._complete.clear()
        if self._rows:
            # While prompts come in there will be more sequences at the next step: guesses would pay for nothing.
            self._advance(by_several=taken == 0)
            ended += self._release()
        return [(self._keys.pop(generation), generation.result(self._codec)) for generation in ended]

    def _drop_cancelled(self) -> None:
        if not self._cancelled:
            return
        for generation in [g for g, key in self._keys.items() if key in self._cancelled]:
            generation.finish = "cancelled"
            del self._keys[generation]
        self._cancelled.clear()
        self._waiting = deque(g for g in self._waiting if g.finish is None)
        self._complete = deque(g for g in self._complete if g in self._keys)
        if self._incoming is not None and self._incoming.finish is not None:
            self._held[len(self._rows)] = self._incoming.tokens[: self._incoming.cached]
            self._incoming = None
        self._release()

    # ---- prompts ----

    def _take_in(self) -> int:
        """Runs prompts, a chunk's worth of tokens; how many."""
        room = self._chunk
        while room > 0:
            if self._incoming is None:
                group = self._next_group(room)
                if not group:
                    break
                if len(group) > 1:
                    room -= self._run_group(group)
                    continue
                self._incoming = group[0]
            room -= self._run_incoming(self._incoming, room)
        return self._chunk - room

    def _run_incoming(self, generation: Generation, room: int) -> int:
        slot = len(self._rows)
        part = generation.tokens[generation.cached : generation.cached + room]
        if generation.cached == 0:
            logits = self._session.first(slot, [part])
        else:
            logits = self._session.extend(slot, generation.cached, part, [len(part) - 1])
        generation.cached += len(part)
        if generation.pending == 0:
            self._incoming = None
            self._rows.append(generation)
            self._draw([generation], logits)
        return len(part)

    def _run_group(self, group: list[Generation]) -> int:
        logits = self._session.first(len(self._rows), [generation.tokens for generation in group])
        for generation in group:
            generation.cached = len(generation.tokens)
        self._rows += group
        self._draw(group, logits)
        return sum(generation.cached for generation in group)

    def _next_group(self, room: int) -> list[Generation]:
        """The requests to take in next: one, or several short prompts of like length that share no beginning."""
        group: list[Generation] = []
        while self._waiting and len(self._rows) + len(group) < self._slots.slots:
            generation = self._waiting[0]
            slot = len(self._rows) + len(group)
            if group and not self._joins(group, generation, room):
                break
            if not self._reserve(slot, generation):
                break
            self._waiting.popleft()
            group.append(generation)
            reused = self._reuse(slot, generation) if len(group) == 1 else 0
            self._held[slot] = []
            if reused or len(generation.tokens) > _GROUP_MAX_TOKENS:
                break
        return group

    def _joins(self, group: list[Generation], generation: Generation, room: int) -> bool:
        lengths = [len(g.tokens) for g in group] + [len(generation.tokens)]
        padded = max(lengths) * len(lengths)
        return (
            max(lengths) <= _GROUP_MAX_TOKENS
            and padded <= room
            and padded - sum(lengths) <= _GROUP_MAX_PADDING * padded
            and generation.tokens[:_REUSE_MIN_TOKENS] != group[0].tokens[:_REUSE_MIN_TOKENS]
            and self._donor(generation)[1] == 0
        )

    def _reserve(self, slot: int, generation: Generation) -> bool:
        """Makes room in `slot`, by forgetting what free slots hold if need be; false: others must end first."""
        if not self._slots.fits(slot, generation.longest):
            self._session.apart()
        for free in reversed(range(slot + 1, self._slots.slots)):
            if self._slots.fits(slot, generation.longest):
                break
            self._slots.forget(free)
            self._held[free] = []
        if not self._slots.fits(slot, generation.longest):
            return False
        if self._slots.reserve(slot, generation.longest):
            self._session.rebind()
        return True

    def _donor(self, generation: Generation) -> tuple[int, int]:
        """The slot that holds the longest beginning of this prompt, and how many tokens of it (0: too few)."""
        wanted = generation.tokens
        head = wanted[:_REUSE_MIN_TOKENS]
        best, most = 0, 0
        for slot, held in enumerate(self._held):
            row = self._rows[slot] if slot < len(self._rows) else None
            tokens, count = (held, len(held)) if row is None else (row.tokens, row.cached)
            if count > most and tokens[:_REUSE_MIN_TOKENS] == head:
                common = min(count, _common(tokens, wanted))
                if common > most:
                    best, most = slot, common
        most = min(most, len(wanted) - 1)  # the last token is run in any case: its logits are needed
        return best, most if most >= _REUSE_MIN_TOKENS else 0

    def _reuse(self, slot: int, generation: Generation) -> int:
        donor, common = self._donor(generation)
        if common and donor != slot:
            self._slots.copy(donor, slot, common)
        generation.cached = common
        return common

    # ---- outputs ----

    def _advance(self, by_several: bool) -> None:
        """Runs the next token of every sequence, or several while there are few."""
        few = len(self._rows) <= self._session.most_together
        if few and by_several and self._advance_by_several():
            return
        # Whoever has more tokens waiting (a schema's) takes them in with the others and draws none yet.
        drawing = [row for row, generation in enumerate(self._rows) if generation.pending == 1]
        started = time.thread_time()
        logits = self._session.decode(
            [generation.tokens[generation.cached] for generation in self._rows],
            [generation.cached for generation in self._rows],
            drawing,
        )
        if few:
            self._costs[len(self._rows) - 1].learn(len(self._rows), time.thread_time() - started)
        for generation in self._rows:
            generation.cached += 1
        self._draw([self._rows[row] for row in drawing], logits)

    def _advance_by_several(self) -> bool:
        """Runs what is pending and a guess of what follows; false where that would be a single token of each."""
        rows = self._rows
        matches = [generation.lookup.match(generation.tokens) if self._lookup else None for generation in rows]
        cost = self._costs[len(rows) - 1]
        widths = cost.best_widths([self._rates.rate(match) for match in matches])
        fed = [
            generation.tokens[generation.cached :] + _guess(generation, match, width)
            for generation, match, width in zip(rows, matches, widths, strict=True)
        ]
        total = sum(map(len, fed))
        if total == len(rows):
            return False
        wanted: list[int] = []  # the last token that is known of each sequence, and those that are guessed
        starts: list[int] = []
        end = 0
        for generation, tokens in zip(rows, fed, strict=True):
            starts.append(len(wanted))
            wanted += range(end + generation.pending - 1, end + len(tokens))
            end += len(tokens)
        started = time.thread_time()
        if len(rows) == 1:
            logits = self._session.extend(0, rows[0].cached, fed[0], wanted)
        else:
            logits = self._session.together(fed, [generation.cached for generation in rows], wanted)
        if logits is None:
            return False
        cost.learn(total, time.thread_time() - started)
        kept = [
            self._take(generation, tokens, match, logits[start:])
            for generation, tokens, match, start in zip(rows, fed, matches, starts, strict=True)
        ]
        if len(rows) > 1:
            self._session.keep(kept)
        return True

    def _take(self, generation: Generation, fed: list[int], match: Match | None, logits: Floats) -> int:
        """Draws for as long as what was fed is what is drawn; how many of the tokens fed are part of the text."""
        base, pending = generation.cached, generation.pending
        known = pending
        while generation.finish is None and known <= len(fed) and generation.tokens[base:] == fed[:known]:
            self._draw([generation], logits[known - pending : known - pending + 1])
            known = len(generation.tokens) - base
        right = _common(generation.tokens[base:], fed)
        if match is not None and len(fed) > pending:
            self._rates.learn(match, len(fed) - pending, right - pending)
        generation.cached = base + right
        return right

    def _draw(self, generations: list[Generation], logits: Floats) -> None:
        guides = [(row, g.guide) for row, g in enumerate(generations) if g.guide is not None]
        self._guidance.mask(logits, guides)
        for generation, row in zip(generations, logits, strict=True):
            generation.take(row)

    def _release(self) -> list[Generation]:
        """Takes out what has ended and closes the gaps, so that slots 0 to n - 1 are in use again."""
        ended: list[Generation] = []
        occupied = len(self._rows)
        for slot in reversed(range(occupied)):
            generation = self._rows[slot]
            if generation.finish is None:
                continue
            self._held[slot] = generation.tokens[: generation.cached]
            last = self._rows.pop()
            if last is not generation:
                self._move(last, len(self._rows), slot)
                self._rows[slot] = last
            if generation.finish != "cancelled":
                ended.append(generation)
        if self._incoming is not None and len(self._rows) < occupied:
            self._move(self._incoming, occupied, len(self._rows))
        return ended

    def _move(self, generation: Generation, source: int, target: int) -> None:
        kept = self._slots.move(source, target, generation.cached, generation.longest)
        self._held[source] = generation.tokens[: generation.cached] if kept else []


def _open(folder: DecoderFolder, settings: LoadSettings) -> tuple[DecoderSession, TextCodec]:
    """The session and the codec. Making a session needs no interpreter: the tokenizer is read meanwhile.

    Meanwhile, not before: a tokenizer that is being read lets nobody else into the interpreter.
    """
    begun = Event()

    def read_tokenizer() -> TextCodec:
        begun.wait()
        return TextCodec(folder.path)

    with ThreadPoolExecutor(1) as beside:
        codec = beside.submit(read_tokenizer)
        try:
            session = DecoderSession(
                folder,
                threads=settings.threads,
                slots=settings.max_slots,
                cache_bytes=settings.cache_bytes,
                begun=begun.set,
            )
        finally:
            begun.set()
    return session, codec.result()


def _guess(generation: Generation, match: Match | None, width: int) -> list[int]:
    """Up to `width` tokens that may follow, no more than may still come."""
    if match is None:
        return []
    return guessed(generation.tokens, match, min(width, generation.longest - len(generation.tokens)))


def _common(first: list[int], second: list[int]) -> int:
    """How many tokens two sequences begin alike with."""
    size = min(len(first), len(second))
    if first[:size] == second[:size]:
        return size
    return int((np.array(first[:size]) != np.array(second[:size])).argmax())
