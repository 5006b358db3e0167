"""The layouts of both splits, by name. A layout arranges blocks; its words come from `writer` and `phrases`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from tui.demo.reports import layouts_held_out, layouts_train
from tui.demo.reports.facts import TRAIN, Facts, Split
from tui.demo.reports.phrases import HELD_OUT_PHRASES, TRAIN_PHRASES
from tui.demo.reports.printing import Style
from tui.demo.reports.text import Block
from tui.demo.reports.writer import Writer

Layout = Callable[[Random, Facts, Style], list[Block]]


def _train(arrange: Callable[[Writer], list[Block]]) -> Layout:
    return lambda rng, facts, style: arrange(Writer(rng, facts, style, TRAIN_PHRASES))


def _held_out(arrange: Callable[[Writer], list[Block]]) -> Layout:
    return lambda rng, facts, style: arrange(Writer(rng, facts, style, HELD_OUT_PHRASES))


TRAIN_LAYOUTS: Final[Mapping[str, Layout]] = {
    "release": _train(layouts_train.release),
    "statement": _train(layouts_train.statement),
    "highlights": _train(layouts_train.highlights),
    "factsheet": _train(layouts_train.factsheet),
    "narrative": _train(layouts_train.narrative),
    "ratios": _train(layouts_train.ratios),
    "flash": _train(layouts_train.flash),
    "overview": _train(layouts_train.overview),
    "board": _train(layouts_train.board),
    "combined": _train(layouts_train.combined),
    "leaders": _train(layouts_train.leaders),
    "scrambled": _train(layouts_train.scrambled),
}
HELD_OUT_LAYOUTS: Final[Mapping[str, Layout]] = {
    "letter": _held_out(layouts_held_out.letter),
    "scorecard": _held_out(layouts_held_out.scorecard),
    "memo": _held_out(layouts_held_out.memo),
    "questions": _held_out(layouts_held_out.questions),
}


def layouts(split: Split) -> Mapping[str, Layout]:
    """The layouts of one split."""
    return TRAIN_LAYOUTS if split == TRAIN else HELD_OUT_LAYOUTS


def layout_names(split: Split) -> tuple[str, ...]:
    """The names of one split's layouts, in the order in which reports take turns."""
    return tuple(layouts(split))
