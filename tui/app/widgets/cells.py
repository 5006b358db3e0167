"""Pieces of text that several widgets are made of: words in their colours, bars, glyphs of progress. Pure.

Colours are the terminal's own names, which Textual turns into shades that can be read on the theme's background.
"""

from __future__ import annotations

import math
from typing import Final

from rich.text import Text

from orbit_core.client import Run, StepProgress
from tui.app.model.columns import cut
from tui.cli.tables import STATE_STYLES
from tui.cli.words import span

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_LATE_SHARE: Final = 0.1


def state(word: str, width: int = 19) -> Text:
    short = "partial" if word == "partially-succeeded" and width < len(word) else word
    return Text(cut(short, width), STATE_STYLES.get(word, ""))


def sla(run: Run, now_ms: int) -> Text:
    """The countdown while it runs; how it came out after."""
    if run.ended:
        return Text(run.sla, STATE_STYLES.get(run.sla, ""))
    left_ms = run.deadline_ms - now_ms
    if left_ms < 0:
        return Text(f"{span(left_ms)} late", "bold red")
    late = left_ms < _LATE_SHARE * (run.deadline_ms - run.created_ms)
    return Text(f"{span(left_ms)} left", "bold yellow" if late else "")


def percent_done(run: Run) -> int:
    """Each step for as much as any other: how many objects are still to come is not known before they do.

    100 is when all is done, not when nearly all is.
    """
    if run.state in ("succeeded", "partially-succeeded"):
        return 100
    shares = [_share(step) for step in run.steps if step.section == "main"]
    return math.floor(100 * sum(shares) / len(shares)) if shares else 0


def _share(step: StepProgress) -> float:
    return (step.ended - step.cancelled) / step.expected if step.expected else 0.0


def step_style(step: StepProgress) -> str:
    if step.failed:
        return "red"
    if step.expected and step.ended >= step.expected:
        return "green"
    return "cyan" if step.running or step.ended else "dim"


def glyphs(run: Run, width: int) -> Text:
    """One glyph a step, as high as its share that is done, then the share of the whole."""
    main = [step for step in run.steps if step.section == "main"]
    share = f" {percent_done(run):3}%"
    room = max(1, width - len(share))
    drawn = Text()
    for step in main[: room if len(main) <= room else room - 1]:
        level = int(_share(step) * (len(_LEVELS) - 1))
        drawn.append(_LEVELS[level], step_style(step))
    if len(main) > room:
        drawn.append("…", "dim")
    return drawn.append(share)


def bar(step: StepProgress, width: int) -> Text:
    """Ended in green, failed in red, running in cyan, the rest a thin line."""
    total = max(step.expected, 1)
    ends = (step.succeeded + step.skipped + step.cancelled, step.failed, step.running)
    drawn, used = Text(), 0
    for count, glyph, style in zip(ends, "━━╍", ("green", "red", "cyan"), strict=True):
        cells = min(width - used, max(1, round(width * count / total)) if count else 0)
        drawn.append(glyph * cells, style)
        used += cells
    return drawn.append("─" * (width - used), "dim")
