"""Layouts that the demonstration model has not seen in training: what the demonstration and evaluations use.

Nothing of `layouts_train` may be used here, and no training layout may imitate one of these.
"""

from __future__ import annotations

from tui.demo.reports.text import Block, Heading, Listing, PageBreak, Paragraph, Table, Title
from tui.demo.reports.writer import FIGURES, PROFITS, Writer


def letter(write: Writer) -> list[Block]:
    """A letter to shareholders on two pages: prose only, the figures inside it."""
    first = " ".join((write.opening(), write.figure("revenue"), write.filler()))
    second = " ".join(write.figure(name, with_share=True) for name in PROFITS)
    return [
        Title(write.facts.company),
        Heading(f"Letter to our shareholders, {write.period()}"),
        Paragraph("Dear shareholders,"),
        Paragraph(first),
        Paragraph(second),
        PageBreak(),
        Paragraph(f"{write.filler()} {write.outlook()}"),
        Paragraph(f"Yours, {write.facts.chief}"),
        Paragraph(write.closing()),
    ]


def scorecard(write: Writer) -> list[Block]:
    """One table with the amount, its share of revenue and the year before, side by side."""
    header = ("Measure", "Actual", "Of revenue", "Year before")
    rows = [header, (write.label("revenue"), write.cell("revenue"), "100%", write.prior_cell("revenue"))]
    rows += [(write.label(name), write.cell(name), write.share(name), write.prior_cell(name)) for name in PROFITS]
    return [
        Title(f"Scorecard: {write.facts.company}"),
        Paragraph(f"{write.period()} ({write.style.in_millions()})"),
        Table(tuple(rows)),
        Heading("Remarks"),
        Paragraph(write.filler(3)),
        Paragraph(f"{write.outlook()} {write.closing()}"),
    ]


def memo(write: Writer) -> list[Block]:
    """An internal memo: sender and subject, then a numbered list of amounts, margins after them."""
    items = [f"{index}) {write.label(name)} = {write.signed(name)}" for index, name in enumerate(FIGURES, start=1)]
    return [
        Title("Memo"),
        Listing((f"From: {write.facts.finance_chief}", f"Re: {write.facts.company}, {write.period()}")),
        Paragraph(f"{write.opening()} {write.filler()}"),
        Listing(tuple(items)),
        Paragraph(write.margins()),
        Paragraph(f"{write.filler()} {write.outlook()} {write.closing()}"),
    ]


def questions(write: Writer) -> list[Block]:
    """Questions and answers, profits first and revenue last."""
    return [
        Title(f"{write.facts.company}: your questions answered"),
        Heading(write.period()),
        Heading("How profitable were we?"),
        Paragraph(" ".join(f"{write.figure(name)} {write.margin(name)}" for name in PROFITS)),
        Heading("How much did we sell?"),
        Paragraph(f"{write.figure('revenue')} {write.filler()}"),
        Heading("What comes next?"),
        Paragraph(f"{write.outlook()} {write.filler()} {write.closing()}"),
    ]
