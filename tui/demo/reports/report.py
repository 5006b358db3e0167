"""One finished report: its facts, its pages, its text and the right answer. Sentences and layouts live elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Final

from tui.demo.reports.facts import HELD_OUT, Facts, Split, draw_facts
from tui.demo.reports.layouts import layouts
from tui.demo.reports.printing import draw_style
from tui.demo.reports.text import Line, pages_of

_STRING_FIELDS = ("company", "quarter", "year")
#: The fields that are numbers: amounts in millions of the report's currency, margins in percent, as printed.
NUMBER_FIELDS: Final = (
    "revenue",
    "net-income",
    "gross-profit",
    "operating-income",
    "net-income-margin",
    "gross-profit-margin",
    "operating-income-margin",
)
FIELD_NAMES: Final = (*_STRING_FIELDS, *NUMBER_FIELDS)

#: The example's output-schema as JSON Schema; the order of the properties is the order of the answer.
OUTPUT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {name: {"type": "number" if name in NUMBER_FIELDS else "string"} for name in FIELD_NAMES},
    "required": list(FIELD_NAMES),
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Report:
    """A quarterly report of a company that does not exist."""

    number: int
    split: Split
    layout: str
    facts: Facts
    pages: tuple[tuple[Line, ...], ...]

    @property
    def file_name(self) -> str:
        """A name for its PDF, unique among the reports of one seed."""
        slug = "".join(c if c.isalnum() else "-" for c in self.facts.company.lower())
        slug = "-".join(part for part in slug.split("-") if part)
        return f"{self.number:03d}-{slug}-q{self.facts.quarter}-{self.facts.year}.pdf"

    @property
    def text(self) -> str:
        """The text as read back from its PDF: a line for each printed line, pages one after the other."""
        return "\n".join(line.text for page in self.pages for line in page)

    @property
    def answer(self) -> str:
        """The right answer as compact JSON in the schema's order, digits as printed (`12.0` stays `12.0`)."""
        strings = {"company": self.facts.company, "quarter": f"Q{self.facts.quarter}", "year": str(self.facts.year)}
        parts = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in strings.items()]
        parts += [f"{json.dumps(name)}:{value}" for name, value in self._numbers().items()]
        return "{" + ",".join(parts) + "}"

    def fields(self) -> dict[str, str | float]:
        """The right answer, by field."""
        return json.loads(self.answer)

    def _numbers(self) -> dict[str, Decimal]:
        facts, current = self.facts, self.facts.current
        values = (
            current.revenue,
            current.net_income,
            current.gross_profit,
            current.operating_income,
            facts.net_margin,
            facts.gross_margin,
            facts.operating_margin,
        )
        return dict(zip(NUMBER_FIELDS, values, strict=True))


def make_report(number: int, *, seed: int = 0, split: Split = HELD_OUT, layout: str | None = None) -> Report:
    """The report with this number: the same arguments always give the same report.

    `layout` names one of the split's layouts; by default they take turns, so that a few reports show all of them.
    """
    rng = Random(f"{split}/{seed}/{number}")
    choices = layouts(split)
    name = layout if layout is not None else list(choices)[number % len(choices)]
    facts = draw_facts(rng, split)
    blocks = choices[name](rng, facts, draw_style(rng))
    return Report(number, split, name, facts, pages_of(blocks, rng.randint(78, 96)))


def make_reports(count: int, *, seed: int = 0, split: Split = HELD_OUT) -> list[Report]:
    """`count` reports, numbered from 0, layouts taking turns."""
    return [make_report(number, seed=seed, split=split) for number in range(count)]
