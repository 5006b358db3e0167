"""Fills sentences, cells and list items with one report's facts, in that report's habits. Layouts choose what stands
where; nothing here decides that.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from random import Random

from tui.demo.reports.facts import Facts
from tui.demo.reports.phrases import LABELS, LOSS_LABELS, MARGIN_LABELS, Phrases
from tui.demo.reports.printing import Style, ordinal, quarter_end

FIGURES = ("revenue", "gross_profit", "operating_income", "net_income")
PROFITS = FIGURES[1:]


def _lower(label: str) -> str:
    return label if label.isupper() else label[:1].lower() + label[1:]


def _change(amount: Decimal, prior: Decimal) -> Decimal:
    if prior == 0:
        return Decimal("0.0")
    return (100 * (amount - prior) / abs(prior)).quantize(Decimal("0.1"), ROUND_HALF_EVEN)


class Writer:
    """One report's pen: the labels it uses are chosen once, sentences are drawn anew each time."""

    def __init__(self, rng: Random, facts: Facts, style: Style, phrases: Phrases) -> None:
        self.rng = rng
        self.facts = facts
        self.style = style
        self.phrases = phrases
        self.labels = {name: rng.choice(LABELS[name]) for name in FIGURES}
        self.margin_labels = {name: rng.choice(MARGIN_LABELS[name]) for name in PROFITS}
        self._filler = rng.sample(phrases.filler, len(phrases.filler))

    # Figures

    def amount(self, name: str) -> Decimal:
        return getattr(self.facts.current, name)

    def prior(self, name: str) -> Decimal:
        return getattr(self.facts.prior, name)

    def cell(self, name: str) -> str:
        """The amount as a table prints it."""
        return self.style.number(self.amount(name))

    def prior_cell(self, name: str) -> str:
        return self.style.number(self.prior(name))

    def signed(self, name: str) -> str:
        """The amount with unit and sign, as a list prints it."""
        return self.style.signed_money(self.amount(name))

    def share(self, name: str) -> str:
        """A profit as a percentage of revenue."""
        return self.style.share(self.facts.current.margin(self.amount(name)))

    def prior_share(self, name: str) -> str:
        return self.style.share(self.facts.prior.margin(self.prior(name)))

    def change_cell(self, name: str) -> str:
        """How an amount moved over a year, signed, in percent."""
        change = _change(self.amount(name), self.prior(name))
        return f"{'+' if change >= 0 else ''}{change}%"

    def label(self, name: str) -> str:
        """The figure's name where a sign will show whether it is a loss: in tables and lists."""
        if self.amount(name) < 0 and self.rng.random() < 0.3:
            return f"{self.labels[name]} (loss)"
        return self.labels[name]

    # Sentences

    def figure(self, name: str, *, with_share: bool = False) -> str:
        """A sentence that states one figure, and its margin too if asked."""
        templates = self.phrases.figure_share if with_share else self.phrases.figure
        label = LOSS_LABELS[name] if self.amount(name) < 0 else self.labels[name]
        change = _change(abs(self.amount(name)), abs(self.prior(name)))  # a loss that "fell" has become smaller
        words = self.phrases.up if change >= 0 else self.phrases.down
        percent = f"{abs(change)}{self.style.percent}"
        margin_label = self.margin_labels[name] if name in PROFITS else ""
        return self.rng.choice(templates).format(
            Label=label,
            label=_lower(label),
            money=self.style.money(self.amount(name)),
            prior=self.style.money(self.prior(name)),
            change=self.rng.choice(words).format(percent),
            percent=percent,
            verb=self.rng.choice(("rose", "increased", "grew") if change >= 0 else ("fell", "decreased", "declined")),
            share=self.share(name) if name in PROFITS else "",
            margin_label=_lower(margin_label),
        )

    def margin(self, name: str) -> str:
        """A sentence that states one margin."""
        label = self.margin_labels[name]
        template = self.rng.choice(self.phrases.margin)
        return template.format(Margin_label=label, margin_label=_lower(label), share=self.share(name))

    def margins(self) -> str:
        """A sentence that states the three margins."""
        gross, operating, net = (self.margin_labels[name] for name in PROFITS)
        return self.rng.choice(self.phrases.margins).format(
            G=gross,
            g_label=_lower(gross),
            o_label=_lower(operating),
            n_label=_lower(net),
            g=self.share("gross_profit"),
            o=self.share("operating_income"),
            n=self.share("net_income"),
        )

    def opening(self) -> str:
        return self._fill(self.rng.choice(self.phrases.opening))

    def closing(self) -> str:
        return self._fill(self.rng.choice(self.phrases.closing))

    def filler(self, count: int = 1) -> str:
        """`count` sentences that say nothing about the fields, none of them twice in a report."""
        return " ".join(self._fill(self._filler.pop()) for _ in range(count))

    def outlook(self) -> str:
        return self._fill(self.rng.choice(self.phrases.outlook))

    def period(self) -> str:
        return self.style.period(self.facts.quarter, self.facts.year)

    def _fill(self, template: str) -> str:
        facts = self.facts
        sentence = template.format(
            company=facts.company,
            ordinal=ordinal(facts.quarter),
            quarter=facts.quarter,
            quarter_end=quarter_end(facts.quarter),
            year=facts.year,
            chief=facts.chief,
            finance_chief=facts.finance_chief,
            other=facts.other_company,
            count=f"{self.rng.randint(90, 9_900):,}",
            small=self.rng.randint(3, 95),
        )
        return sentence.replace("..", ".")  # a name may end with the period that also ends the sentence
