"""How one report prints its numbers and its quarter. No sentences and no layout here."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random

_ORDINALS = ("first", "second", "third", "fourth")
_QUARTER_ENDS = ("March 31", "June 30", "September 30", "December 31")

#: (what stands before an amount, the currency's name in a table heading)
_CURRENCIES = (
    ("$", "US dollars"),
    ("$", "USD"),
    ("US$", "U.S. dollars"),
    ("USD ", "USD"),
    ("EUR ", "EUR"),
    ("GBP ", "GBP"),
    ("£", "pounds sterling"),
    ("CHF ", "Swiss francs"),
    ("C$", "Canadian dollars"),
)
_MILLIONS = (" million", " million", " million", "m", " mn", "M")
_BILLIONS = {" million": " billion", "m": "bn", " mn": " bn", "M": "B"}
_IN_MILLIONS = (
    "in millions of {}",
    "{} in millions",
    "amounts in millions of {}",
    "in {} millions",
    "{} m",
    "all figures in {} million",
)


@dataclass(frozen=True, slots=True)
class Style:
    """The habits of one report."""

    currency: str
    currency_name: str
    million: str
    billions: bool  # prose prints a whole number of millions from a thousand up as "1.234 billion"
    percent: str
    parentheses: bool  # a negative number in a table stands in parentheses, otherwise after a minus
    heading: str
    quarter_form: int

    def number(self, value: Decimal) -> str:
        """An amount without unit, as in a table: `1,234.5`, `(12.3)`."""
        if value >= 0:
            return f"{value:,}"
        return f"({-value:,})" if self.parentheses else f"-{-value:,}"

    def money(self, value: Decimal) -> str:
        """The size of an amount in running text; the sentence says whether it is a loss: `$1,234.5 million`."""
        size = abs(value)
        if self.billions and size >= 1000 and size.as_tuple().exponent == 0:
            return f"{self.currency}{size / 1000:.3f}{_BILLIONS[self.million]}"
        return f"{self.currency}{size:,}{self.million}"

    def signed_money(self, value: Decimal) -> str:
        """An amount with unit and sign, for a list: `$12.3 million`, `-$12.3 million`."""
        return f"-{self.money(value)}" if value < 0 else self.money(value)

    def share(self, value: Decimal) -> str:
        """A percentage: `45.6%`, `(4.5%)`, `-4.5%`."""
        if value < 0 and self.parentheses:
            return f"({-value}{self.percent})"
        return f"{value}{self.percent}"

    def in_millions(self) -> str:
        """The line that says what unit the figures of a table have."""
        return self.heading.format(self.currency_name)

    def period(self, quarter: int, year: int) -> str:
        """The quarter in the form that this report uses in its heading."""
        ordinal = _ORDINALS[quarter - 1]
        forms = (
            f"Q{quarter} {year}",
            f"Q{quarter} {year}",
            f"{ordinal.capitalize()} quarter {year}",
            f"{ordinal.capitalize()} quarter of {year}",
            f"{ordinal.capitalize()} quarter of fiscal year {year}",
            f"Quarter ended {_QUARTER_ENDS[quarter - 1]}, {year}",
            f"Q{quarter} FY{year}",
            f"{quarter}Q {year}",
            f"{year} Q{quarter}",
        )
        return forms[self.quarter_form]


def ordinal(quarter: int) -> str:
    """`third` for 3."""
    return _ORDINALS[quarter - 1]


def quarter_end(quarter: int) -> str:
    """The last day of a calendar quarter: `September 30` for 3."""
    return _QUARTER_ENDS[quarter - 1]


def draw_style(rng: Random) -> Style:
    """Choose the habits of one report."""
    currency, name = rng.choice(_CURRENCIES)
    return Style(
        currency=currency,
        currency_name=name,
        million=rng.choice(_MILLIONS),
        billions=rng.random() < 0.3,
        percent=rng.choice(("%", "%", "%", " %", " percent")),
        parentheses=rng.random() < 0.6,
        heading=rng.choice(_IN_MILLIONS),
        quarter_form=rng.randrange(9),
    )
