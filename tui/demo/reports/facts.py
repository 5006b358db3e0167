"""What is true of one quarter of one company: the figures behind a report. How they are printed is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Literal

from tui.demo.reports.names import HELD_OUT_NAMES, TRAIN_NAMES, NameParts, company_name, person_name

Split = Literal["train", "held-out"]
TRAIN: Split = "train"
HELD_OUT: Split = "held-out"

LOSS_SHARE = 0.1  # of reports: the quarter ends in a loss


@dataclass(frozen=True, slots=True)
class Amounts:
    """The four figures of one period, in millions of the report's currency."""

    revenue: Decimal
    gross_profit: Decimal
    operating_income: Decimal
    net_income: Decimal

    def margin(self, amount: Decimal) -> Decimal:
        """`amount` as a percentage of revenue, to one decimal, computed from the figures as printed."""
        return (100 * amount / self.revenue).quantize(Decimal("0.1"), ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Facts:
    """One quarter of one company, the same quarter a year before, and names that only distract."""

    company: str
    quarter: int
    year: int
    current: Amounts
    prior: Amounts
    chief: str
    finance_chief: str
    other_company: str

    @property
    def gross_margin(self) -> Decimal:
        return self.current.margin(self.current.gross_profit)

    @property
    def operating_margin(self) -> Decimal:
        return self.current.margin(self.current.operating_income)

    @property
    def net_margin(self) -> Decimal:
        return self.current.margin(self.current.net_income)


def name_parts(split: Split) -> NameParts:
    """The vocabulary of names of one split."""
    return TRAIN_NAMES if split == TRAIN else HELD_OUT_NAMES


def draw_facts(rng: Random, split: Split) -> Facts:
    """Invent one company and its quarter."""
    parts = name_parts(split)
    decimals = rng.choices((0, 1, 2), (30, 60, 10))[0]
    revenue = 20 * (450 ** rng.random())  # 20 to 9,000 million, evenly spread over the orders of magnitude
    gross_share = rng.uniform(0.18, 0.78)
    lossmaking = rng.random() < LOSS_SHARE
    operating_share = rng.uniform(-0.2, -0.01) if lossmaking else gross_share * rng.uniform(0.15, 0.7)
    net_share = operating_share * (rng.uniform(1.02, 1.3) if lossmaking else rng.uniform(0.55, 0.92))
    current = _amounts(revenue, gross_share, operating_share, net_share, decimals)
    prior = _amounts(
        revenue * rng.uniform(0.75, 1.2),
        gross_share * rng.uniform(0.9, 1.1),
        operating_share * rng.uniform(0.7, 1.2),
        net_share * rng.uniform(0.7, 1.2),
        decimals,
    )
    return Facts(
        company=company_name(rng, parts),
        quarter=rng.randint(1, 4),
        year=rng.randint(2012, 2029),
        current=current,
        prior=prior,
        chief=person_name(rng, parts),
        finance_chief=person_name(rng, parts),
        other_company=company_name(rng, parts),
    )


def _amounts(revenue: float, gross: float, operating: float, net: float, decimals: int) -> Amounts:
    step = Decimal(1).scaleb(-decimals)
    values = (revenue, revenue * gross, revenue * operating, revenue * net)
    return Amounts(*(Decimal(repr(value)).quantize(step, ROUND_HALF_EVEN) for value in values))
