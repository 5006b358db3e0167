"""Training samples, made as they are needed and never twice. What a report looks like is `tui.demo.reports`' matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tools.demo_model.prompts import TURN_END, conversation, instruction
from tui.demo.reports import TRAIN, layout_names, make_report
from tui.demo.reports.facts import name_parts
from tui.demo.reports.names import LEGAL_FORMS, person_name
from tui.demo.reports.phrases import LABELS, LOSS_LABELS, MARGIN_LABELS

_PLAIN_WORDS = (
    "million mn billion bn percent quarter quarterly first second third fourth year fiscal ended march june september",
    "december million millions margins gross operating net loss to from of or with than and at in for prior previous",
    "last ago earlier compared compares against cost expenses chf eur usd gbp fy cash",
)
#: Where training begins: short, with every figure beside its name.
EASY_LAYOUTS = ("factsheet", "leaders", "flash", "ratios", "combined")

LEGAL_FORM_WORDS = frozenset(form.rstrip(".") for form in LEGAL_FORMS)
_CONSONANTS = (
    *"bcdfghjklmnpqrstvwxyz",
    "br",
    "ch",
    "cl",
    "dr",
    "fl",
    "gr",
    "kr",
    "ph",
    "pl",
    "sh",
    "st",
    "th",
    "tr",
    "",
)
_VOWELS = (*"aeiouy", *"aeiou", "ai", "ea", "ee", "ie", "oa", "ou", "ey", "ay")
_CODAS = (*"lmnrstxz", "", "", "", "ck", "ld", "ll", "mb", "nd", "ng", "nt", "rd", "rk", "ss", "st", "th")
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_LETTER_WEIGHTS = (12, 9, 8, 8, 7, 7, 6, 6, 6, 4, 4, 3, 3, 2, 2, 2, 2, 2, 1, 1, 2, 1, 1, 1, 1, 1)
_FINANCE_WORDS = frozenset(
    word
    for label in (*chain(*LABELS.values()), *chain(*MARGIN_LABELS.values()), *LOSS_LABELS.values(), *_PLAIN_WORDS)
    for word in label.lower().split()
)
NAMES_OF_PIECES_FROM = 24_000  # the sample from which on names are made of the tokenizer's pieces too: the hard part
IGNORED = -100  # the target of a position that carries no loss


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids and their targets one step ahead (batch × time); where the answers are (batch × answer time)."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    answer_at: NDArray[np.int64]  # positions in time; those beyond the end of an answer repeat its last
    answer_targets: NDArray[np.int64]


def as_read(text: str, rng: Random) -> str:
    """The text as one PDF reader or another gives it: line ends, blank lines and wrapping differ between them."""
    way = rng.random()
    if way < 0.80:
        return text
    if way < 0.85:
        return text.replace("\n", "\r\n")
    if way < 0.92:
        return text.replace("\n", "\n\n")
    if way < 0.96:
        return text + "\n"
    return text.replace("\n", " ")


def roughened(text: str, keep: str, rng: Random) -> str:
    """The text with some of its plain words made unknown, so that the model leans on names, labels and numbers and
    not on sentences that it knows by heart. Words of finance, and the parts of `keep`, stay.
    """
    kept = _FINANCE_WORDS | set(re.findall(r"[A-Za-z]+", keep))
    share = rng.choice((0.1, 0.3, 0.6))

    def replace(match: re.Match[str]) -> str:
        word = match.group()
        if word.lower() in kept or word in kept or rng.random() >= share:
            return word
        coined = _unknown_word(rng, max(2, len(word) + rng.randint(-2, 2)))
        return coined.capitalize() if word[0].isupper() else coined

    return re.sub(r"(?<![\w&.-])[A-Za-z]{2,}(?![\w&-])", replace, text)


def padded(text: str, rng: Random) -> str:
    """The text with sentences of unknown words between its own: unseen reports speak of anything, and are longer."""
    lines = text.split("\n")
    for index in range(len(lines), 0, -1):
        if (index == len(lines) or lines[index - 1].endswith(".")) and rng.random() < 0.4:
            words = [_unknown_word(rng, rng.randint(2, 9)) for _ in range(rng.randint(4, 14))]
            if rng.random() < 0.3:
                words[-2] = f"{rng.randint(2, 9_999):,}"
            lines.insert(index, " ".join(words).capitalize() + ".")
    return "\n".join(lines)


def _unknown_word(rng: Random, letters: int) -> str:
    return "".join(rng.choices(_LETTERS, _LETTER_WEIGHTS, k=letters))


def renamed(text: str, answer: str, company: str, rng: Random, pieces: Sequence[str] = ()) -> tuple[str, str]:
    """The text and the answer with words of the company's name replaced by words that nobody has used before.

    The names of the reports come from a vocabulary that a model can learn by heart; these it can only copy. Most are
    made of `pieces`, where there are any: each token has then been copied before an unseen name needs it.
    """
    for word in re.findall(r"[A-Za-z]{3,}", company):
        if word in LEGAL_FORM_WORDS or word.lower() in _FINANCE_WORDS or rng.random() < (0.1 if pieces else 0.3):
            continue
        pattern = rf"(?<![A-Za-z]){word}(?![A-Za-z])"
        coined = _of_pieces(pieces, rng) if pieces and rng.random() < 0.7 else _coined(rng)
        text, answer = re.sub(pattern, coined, text), re.sub(pattern, coined, answer)
    return text, answer


def _about_somebody(rng: Random) -> str:
    """A line above the report that names a person: not every name at the top is the company's."""
    name = person_name(rng, name_parts(TRAIN)) if rng.random() < 0.5 else f"{_coined(rng)} {_coined(rng)}"
    word = rng.choice(("Author", "By", "Prepared by", "Editor", _unknown_word(rng, 4).capitalize()))
    return f"{word}{rng.choice((': ', ' ', ' - '))}{name}"


def name_pieces(tokenizer: Tokenizer) -> list[str]:
    """The tokens that words are made of, without the space before: two ASCII letters or more."""
    words = (token.removeprefix("Ġ") for token in tokenizer.get_vocab())
    return sorted({word for word in words if len(word) > 1 and word.isascii() and word.isalpha()})


def _of_pieces(pieces: Sequence[str], rng: Random) -> str:
    word = "".join(rng.choices(pieces, k=rng.choice((1, 2, 2, 3))))
    return word[0].upper() + word[1:]


def _coined(rng: Random) -> str:
    if rng.random() < 0.3:
        return "".join(rng.choices(_LETTERS, k=rng.randint(3, 9))).capitalize()
    syllables = (
        rng.choice(_CONSONANTS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.choice((1, 2, 2, 3)))
    )
    return "".join(syllables).capitalize()


class Samples:
    """An endless stream of samples: sample `n` of one seed is always the same."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._tokenizer = tokenizer
        self._seed = seed
        self._pieces = name_pieces(tokenizer)
        names = layout_names(TRAIN)
        self._layouts = (*names, "scrambled", "scrambled", "release", "narrative", "board")  # the harder ones twice

    def sample(self, number: int, *, easy: bool) -> tuple[list[int], int]:
        """The token ids of one conversation, and how many of them come before the answer."""
        rng = Random(f"sample/{self._seed}/{number}")
        layout = rng.choice(EASY_LAYOUTS if easy else self._layouts)
        report = make_report(number, seed=self._seed, split=TRAIN, layout=layout)
        text, answer, company = as_read(report.text, rng), report.answer, report.facts.company
        if rng.random() < 0.5:
            text = padded(roughened(text, company, rng), rng)
        if rng.random() < 0.8:
            pieces = self._pieces if number >= NAMES_OF_PIECES_FROM else ()
            text, answer = renamed(text, answer, company, rng, pieces)
        if rng.random() < 0.2:
            text = f"{_about_somebody(rng)}\n{text}"
        return encode(self._tokenizer, instruction(rng), text, answer)

    def batches(self, size: int, easy_until: int, first: int = 0) -> Iterator[Batch]:
        """Batches of samples of like length; the first `easy_until` samples are easy ones."""
        pool, number = 8 * size, first
        while True:
            samples = [self.sample(n, easy=n < easy_until) for n in range(number, number + pool)]
            samples.sort(key=lambda sample: len(sample[0]))
            groups = [samples[start : start + size] for start in range(0, pool, size)]
            Random(number).shuffle(groups)
            yield from map(collate, groups)
            number += pool


def encode(tokenizer: Tokenizer, asked: str, text: str, answer: str) -> tuple[list[int], int]:
    """One conversation as token ids, and how many of them come before the answer."""
    prompt = tokenizer.encode(conversation(asked, text)).ids
    return prompt + tokenizer.encode(answer + TURN_END).ids, len(prompt)


def collate(samples: list[tuple[list[int], int]], multiple: int = 32) -> Batch:
    """Pad samples on the right to a common length, a multiple of `multiple`."""
    time = _up(max(len(ids) for ids, _ in samples) - 1, multiple)
    answer_time = _up(max(len(ids) - prompt for ids, prompt in samples), 8)
    inputs = np.zeros((len(samples), time), np.int64)
    targets = np.full((len(samples), time), IGNORED, np.int64)
    answer_at = np.zeros((len(samples), answer_time), np.int64)
    answer_targets = np.full((len(samples), answer_time), IGNORED, np.int64)
    for row, (ids, prompt) in enumerate(samples):
        length = len(ids) - prompt
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, : len(ids) - 1] = ids[1:]
        answer_at[row] = np.minimum(np.arange(prompt - 1, prompt - 1 + answer_time), len(ids) - 2)
        answer_targets[row, :length] = ids[prompt:]
    return Batch(inputs, targets, answer_at, answer_targets)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
