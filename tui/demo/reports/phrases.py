"""The sentences that reports are made of, for each split. Words only: how they are filled in is `writer`'s.

In a figure's sentence `{Label}` and `{label}` name the figure, `{money}` is its amount, `{prior}` the amount a year
before, `{change}` how it moved (`up 4.5% year on year`), `{percent}` and `{verb}` the same in two parts. In a
margin's sentence `{share}` is the margin. In filler `{count}`, `{small}` and `{other}` only distract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What the figures are called. Words of finance are not held out: nothing but training could teach them.
LABELS: Final[dict[str, tuple[str, ...]]] = {
    "revenue": ("Revenue", "Revenue", "Revenues", "Total revenue", "Net revenue", "Net sales", "Sales", "Turnover"),
    "gross_profit": ("Gross profit", "Gross profit", "Gross income", "Total gross profit"),
    "operating_income": ("Operating income", "Operating income", "Operating profit", "Income from operations", "EBIT"),
    "net_income": ("Net income", "Net income", "Net profit", "Net earnings", "Profit after tax"),
}
LOSS_LABELS: Final = {"operating_income": "Operating loss", "net_income": "Net loss"}
MARGIN_LABELS: Final[dict[str, tuple[str, ...]]] = {
    "gross_profit": ("Gross margin", "Gross profit margin"),
    "operating_income": ("Operating margin", "Operating income margin", "Operating profit margin"),
    "net_income": ("Net margin", "Net income margin", "Net profit margin"),
}


@dataclass(frozen=True, slots=True)
class Phrases:
    """The sentences of one split."""

    figure: tuple[str, ...]  # one figure, nothing else
    figure_share: tuple[str, ...]  # one figure and its margin
    margin: tuple[str, ...]  # one margin
    margins: tuple[str, ...]  # the three margins in one sentence: {G} {g}, {O} {o}, {N} {n}
    up: tuple[str, ...]
    down: tuple[str, ...]
    opening: tuple[str, ...]
    closing: tuple[str, ...]
    filler: tuple[str, ...]
    outlook: tuple[str, ...]


TRAIN_PHRASES: Final = Phrases(
    figure=(
        "{Label} was {money}.",
        "{Label} was {money}, {change}.",
        "{Label} came in at {money}, compared with {prior} a year earlier.",
        "{Label} {verb} {percent} to {money}.",
        "{Label} {verb} {percent} to {money} from {prior}.",
        "{Label} of {money} was {change}.",
        "We reported {label} of {money}.",
        "The company recorded {label} of {money}, against {prior} in the prior-year quarter.",
        "{Label} reached {money} ({prior} in the same quarter last year).",
        "{Label} for the three months totalled {money}.",
        "{Label} amounted to {money}, {change}.",
        "In the quarter, {label} was {money}.",
        "The quarter brought {label} of {money}, {change}.",
        "Compared with {prior} a year ago, {label} was {money}.",
        "At {money}, {label} was {change}.",
    ),
    figure_share=(
        "{Label} was {money}, or {share} of revenue.",
        "{Label} was {money}, a margin of {share}.",
        "{Label} came in at {money}, {change}, for a margin of {share}.",
        "{Label} {verb} {percent} to {money}, representing {share} of sales.",
        "{Label} amounted to {money} ({share} of revenue).",
        "{Label} was {money} and {margin_label} was {share}.",
        "With {margin_label} of {share}, {label} reached {money}.",
        "{Label} of {money} compares with {prior} a year earlier; {margin_label} was {share}.",
    ),
    margin=(
        "{Margin_label} was {share}.",
        "{Margin_label} came to {share}.",
        "This corresponds to {margin_label} of {share}.",
        "{Margin_label} for the quarter was {share}.",
        "We achieved {margin_label} of {share}.",
    ),
    margins=(
        "{G} was {g}, {o_label} was {o} and {n_label} was {n}.",
        "{G} came to {g}; {o_label} to {o}; {n_label} to {n}.",
        "Margins: gross {g}, operating {o}, net {n}.",
        "The gross, operating and net margins were {g}, {o} and {n}.",
        "{G} of {g}, {o_label} of {o} and {n_label} of {n} reflect the mix of the quarter.",
    ),
    up=("up {} year on year", "up {} from a year earlier", "an increase of {}", "{} higher than last year", "+{}"),
    down=("down {} year on year", "down {} from a year earlier", "a decrease of {}", "{} lower than last year", "-{}"),
    opening=(
        "{company} today announced its results for the {ordinal} quarter of {year}.",
        "{company} published its financial results for the quarter ended {quarter_end}, {year}.",
        "This report covers the {ordinal} quarter of {year} of {company}.",
        "{company} has closed the {ordinal} quarter of {year}.",
        "The board of {company} has approved the accounts for Q{quarter} {year}.",
        "Below are the key figures of {company} for Q{quarter} {year}.",
    ),
    closing=(
        "The figures are unaudited.",
        "About {company}: we serve customers in {small} countries.",
        "Contact: {finance_chief}, chief financial officer.",
        "This document is for information only.",
        "Rounding differences may occur.",
    ),
    filler=(
        "Demand stayed firm in most of our markets.",
        "We ended the period with {count} employees.",
        "Cash flow was in line with our plan.",
        "The order book covers about {small} months of production.",
        "During the quarter we signed a supply agreement with {other}.",
        "{chief}, chief executive, thanked the teams for their work.",
        "Input costs eased, while wages rose by {small} percent.",
        "We opened {small} new sites and closed two.",
        "Capital expenditure followed the plan agreed in the spring.",
        "The company repaid part of its bank loans.",
        "Currency effects reduced growth by about one point.",
        "Customer retention improved to {small} percent.",
        "Our competitor {other} lowered its prices.",
        "Inventory fell for the second quarter in a row.",
        "Research spending went mostly into new products.",
        "A dividend will be proposed at the annual meeting.",
    ),
    outlook=(
        "For the full year we expect growth in the mid single digits.",
        "The outlook for the year is unchanged.",
        "Management expects the coming quarter to be similar.",
        "We plan to invest in {small} further projects.",
        "We remain careful about the months ahead.",
        '{chief} said: "We are pleased with our progress."',
    ),
)

HELD_OUT_PHRASES: Final = Phrases(
    figure=(
        "{Label} stood at {money}.",
        "{Label} finished the period at {money}, {change}.",
        "Our {label} came to {money}, after {prior} twelve months before.",
        "The team delivered {label} of {money}.",
        "On the line that matters, {label}, we booked {money}, {change}.",
        "{Label} {verb} by {percent} and now stands at {money}.",
    ),
    figure_share=(
        "{Label} stood at {money}, which is {share} of revenue.",
        "{Label} finished at {money}, {change}, and {margin_label} at {share}.",
        "We kept {label} of {money}, giving {margin_label} of {share}.",
        "{Label} landed at {money} (margin {share}).",
    ),
    margin=(
        "{Margin_label} stood at {share}.",
        "That leaves {margin_label} at {share}.",
        "Measured by {margin_label}, we reached {share}.",
    ),
    margins=(
        "{G} stood at {g}, {o_label} at {o} and {n_label} at {n}.",
        "In short: {g_label} {g}, {o_label} {o}, {n_label} {n}.",
    ),
    up=("{} better than the year before", "a gain of {}", "up by {}"),
    down=("{} below the year before", "a drop of {}", "down by {}"),
    opening=(
        "Here is how {company} did in the {ordinal} quarter of {year}.",
        "{company} looks back on Q{quarter} of {year}.",
        "With the {ordinal} quarter of {year} behind us, {company} presents its numbers.",
    ),
    closing=(
        "No auditor has reviewed these numbers.",
        "Questions go to {finance_chief}, who runs the finance department.",
        "Sums may differ slightly from their parts.",
    ),
    filler=(
        "Two warehouses moved to a cheaper building.",
        "Our staff numbered {count} at the end of the period.",
        "A new contract with {other} starts next spring.",
        "Freight rates went down and energy became {small} percent cheaper.",
        "Complaints fell to the lowest level in {small} years.",
        "{chief} took over as head of the company in March.",
        "We finished the move to the new ordering system.",
        "Suppliers delivered on time in {small} of 100 cases.",
        "The plant ran in three shifts all through the summer.",
    ),
    outlook=(
        "The next months look much like the last.",
        "We see no reason to change our plans.",
        "Growth should pick up once {small} pending permits are granted.",
        "Nothing in the order intake worries us.",
    ),
)
