"""Layouts that the demonstration model is trained on. None of them may imitate one in `layouts_held_out`."""

from __future__ import annotations

from tui.demo.reports.text import Block, Heading, Listing, PageBreak, Paragraph, Table, Title
from tui.demo.reports.writer import FIGURES, PROFITS, Writer


def release(write: Writer) -> list[Block]:
    """A press release: dateline, prose, bullets with the margins."""
    rng = write.rng
    verb = rng.choice(("Reports", "Announces", "Publishes", "reports"))
    mark = rng.choice(("-", "*", "·"))
    margins = [f"{mark} {write.margin_labels[name]}: {write.share(name)}" for name in PROFITS]
    sentences = [write.figure(name) for name in FIGURES]
    blocks: list[Block] = [
        Title(f"{write.facts.company} {verb} {write.period()} Results"),
        Paragraph(f"{write.opening()} {' '.join(sentences)}"),
        Listing(tuple(margins)),
        Paragraph(write.filler(rng.randint(1, 3))),
        Paragraph(f"{write.outlook()} {write.closing()}"),
    ]
    if rng.random() < 0.4:
        blocks[1], blocks[2] = blocks[2], blocks[1]
    return blocks


def statement(write: Writer) -> list[Block]:
    """A condensed income statement with costs and the year before; margins in a sentence below."""
    facts, number = write.facts, write.style.number
    now, then = facts.current, facts.prior
    head = write.rng.choice(("Item", "Line", "Three months"))
    rows = [
        (head, f"Q{facts.quarter} {facts.year}", f"Q{facts.quarter} {facts.year - 1}"),
        (write.label("revenue"), number(now.revenue), number(then.revenue)),
        ("Cost of sales", number(now.gross_profit - now.revenue), number(then.gross_profit - then.revenue)),
        (write.label("gross_profit"), number(now.gross_profit), number(then.gross_profit)),
        (
            "Operating expenses",
            number(now.operating_income - now.gross_profit),
            number(then.operating_income - then.gross_profit),
        ),
        (write.label("operating_income"), number(now.operating_income), number(then.operating_income)),
        (write.label("net_income"), number(now.net_income), number(then.net_income)),
    ]
    return [
        Title(f"{facts.company}"),
        Heading(f"Condensed income statement, {write.period()}"),
        Paragraph(f"({write.style.in_millions()})"),
        Table(tuple(rows)),
        Paragraph(f"{write.margins()} {write.filler(write.rng.randint(0, 2))}".strip()),
        Paragraph(write.closing()),
    ]


def highlights(write: Writer) -> list[Block]:
    """Bullets that state a figure each, margin included."""
    mark = write.rng.choice(("-", "*", "·", "+"))
    items = [f"{mark} {write.figure('revenue')}"]
    items += [f"{mark} {write.figure(name, with_share=True)}" for name in PROFITS]
    if write.rng.random() < 0.5:
        items.insert(write.rng.randrange(len(items)), f"{mark} {write.filler()}")
    return [
        Title(f"{write.period()}: {write.facts.company}"),
        Heading(write.rng.choice(("Highlights", "Key points", "At a glance", "Financial highlights"))),
        Listing(tuple(items)),
        Paragraph(f"{write.filler(write.rng.randint(1, 3))} {write.closing()}"),
        Heading("Outlook"),
        Paragraph(write.outlook()),
    ]


def factsheet(write: Writer) -> list[Block]:
    """A line for each field: name, colon, value."""
    rng = write.rng
    separator = rng.choice((": ", ": ", " - ", " | "))
    head = [f"Company{separator}{write.facts.company}", f"Period{separator}{write.period()}"]
    figures = [f"{write.label(name)}{separator}{write.signed(name)}" for name in FIGURES]
    margins = [f"{write.margin_labels[name]}{separator}{write.share(name)}" for name in PROFITS]
    other = [f"Employees{separator}{rng.randint(90, 9_900):,}", f"Auditor{separator}{write.facts.other_company}"]
    lines = figures + margins + rng.sample(other, rng.randint(0, 2))
    if rng.random() < 0.4:
        rng.shuffle(lines)
    return [
        Title(rng.choice(("Fact sheet", "Company profile", "Quarterly fact sheet", "Summary of results"))),
        Listing(tuple(head + lines)),
        Paragraph(write.filler(rng.randint(1, 3))),
        Paragraph(write.closing()),
    ]


def narrative(write: Writer) -> list[Block]:
    """Sections with a heading each, prose below."""
    profit = [f"{write.figure(name)} {write.margin(name)}" for name in PROFITS]
    sections: list[tuple[str, str]] = [
        (write.rng.choice(("Revenue", "Sales", "Top line")), f"{write.figure('revenue')} {write.filler()}"),
        (write.rng.choice(("Profitability", "Earnings", "Results")), " ".join(profit)),
        (write.rng.choice(("Outlook", "Guidance")), f"{write.outlook()} {write.filler()}"),
    ]
    if write.rng.random() < 0.5:
        sections[0], sections[1] = sections[1], sections[0]
    blocks: list[Block] = [
        Title(f"{write.facts.company}: report for {write.period()}"),
        Paragraph(write.opening()),
    ]
    for heading, text in sections:
        blocks += [Heading(heading), Paragraph(text)]
    return [*blocks, Paragraph(write.closing())]


def ratios(write: Writer) -> list[Block]:
    """A table with the amount and its share of revenue."""
    share = write.rng.choice(("% of revenue", "Margin", "% of sales"))
    dash = write.rng.choice(("100.0%", "-", "n/a"))
    rows = [("Figure", "Amount", share), (write.label("revenue"), write.cell("revenue"), dash)]
    rows += [(write.label(name), write.cell(name), write.share(name)) for name in PROFITS]
    return [
        Title(f"{write.facts.company} {write.period()}"),
        Paragraph(f"{write.opening()} {write.filler(write.rng.randint(0, 2))}".strip()),
        Paragraph(f"Key figures ({write.style.in_millions()})"),
        Table(tuple(rows)),
        Paragraph(f"{write.outlook()} {write.closing()}"),
    ]


def flash(write: Writer) -> list[Block]:
    """The shortest: one paragraph."""
    names = list(FIGURES)
    write.rng.shuffle(names)
    sentences = [write.figure(name, with_share=name in PROFITS) for name in names]
    return [
        Title(f"{write.facts.company}, {write.period()}"),
        Paragraph(" ".join(sentences)),
        Paragraph(write.closing()),
    ]


def overview(write: Writer) -> list[Block]:
    """A table with the change over a year, margins in sentences, on two pages."""
    rows = [("Key figure", write.period().replace(",", ""), "Change")]
    rows += [(write.label(name), write.cell(name), write.change_cell(name)) for name in FIGURES]
    return [
        Title(write.facts.company),
        Heading("Quarterly overview"),
        Paragraph(f"{write.opening()} {write.filler()}"),
        Table(tuple(rows)),
        Paragraph(write.style.in_millions()),
        PageBreak(),
        Paragraph(f"{' '.join(write.margin(name) for name in PROFITS)} {write.filler()}"),
        Paragraph(write.closing()),
    ]


def board(write: Writer) -> list[Block]:
    """A report to the board in numbered sections, margins in one sentence."""
    mark = write.rng.choice(("{}. ", "{} ", "Section {}: "))
    figures = " ".join(write.figure(name) for name in FIGURES)
    bodies = [
        ("Results", figures),
        ("Margins", write.margins()),
        ("Operations", write.filler(write.rng.randint(1, 3))),
        ("Next steps", write.outlook()),
    ]
    blocks: list[Block] = [Title("Report to the board of directors"), Paragraph(write.opening())]
    for index, (heading, text) in enumerate(bodies, start=1):
        blocks += [Heading(mark.format(index) + heading), Paragraph(text)]
    return blocks


def combined(write: Writer) -> list[Block]:
    """Amounts and margins as rows of one table, this year beside the last."""
    facts = write.facts
    rows = [(write.rng.choice(("Figure", "Item", "KPI")), str(facts.year), str(facts.year - 1))]
    rows += [(write.label(name), write.cell(name), write.prior_cell(name)) for name in FIGURES]
    rows += [(write.margin_labels[name], write.share(name), write.prior_share(name)) for name in PROFITS]
    return [
        Title(f"{facts.company} - {write.period()}"),
        Paragraph(write.style.in_millions()),
        Table(tuple(rows)),
        Heading("Comments"),
        Paragraph(write.filler(write.rng.randint(2, 4))),
        Paragraph(f"{write.outlook()} {write.closing()}"),
    ]


def leaders(write: Writer) -> list[Block]:
    """Lines with dots between name and value, each profit followed by its margin."""
    dots = write.rng.choice((" .... ", " ........ ", " ... ", " _ "))
    items = [f"{write.label('revenue')}{dots}{write.cell('revenue')}"]
    for name in PROFITS:
        items.append(f"{write.label(name)}{dots}{write.cell(name)}")
        items.append(f"{write.margin_labels[name]}{dots}{write.share(name)}")
    return [
        Title(f"{write.facts.company} quarterly statement"),
        Heading(write.period()),
        Paragraph(write.filler(write.rng.randint(1, 2))),
        Paragraph(f"Figures {write.style.in_millions()}"),
        Listing(tuple(items)),
        Paragraph(f"{write.filler()} {write.closing()}"),
    ]


def scrambled(write: Writer) -> list[Block]:
    """Every figure said in some way, in some order, under some heading: so that no order can be learnt by heart."""
    rng = write.rng
    parts: list[Block] = []
    rows: list[tuple[str, ...]] = []
    for name in rng.sample(FIGURES, len(FIGURES)):
        parts += _scrambled_figure(write, name, rows)
    if rows:
        header = ("Item", "Current", "Previous", "Share")[: len(rows[0])]
        parts.insert(rng.randint(0, len(parts)), Table((header, *rows)))
    for _ in range(rng.randint(1, 3)):
        parts.insert(rng.randint(0, len(parts)), Paragraph(write.filler()))
    if rng.random() < 0.5:
        parts.insert(rng.randint(0, len(parts)), Heading(rng.choice(("Details", "Results", "Figures", "Finance"))))
    heading = (
        [Title(f"{write.facts.company}"), Paragraph(write.period())],
        [Title(rng.choice(("Quarterly report", "Interim report", "Trading update"))), Paragraph(write.opening())],
        [Title(f"{write.period()} / {write.facts.company}")],
        [Title(f"Interim report of {write.facts.company} for {write.period()}")],
    )[rng.randrange(4)]
    return [*heading, *parts, Paragraph(write.closing())]


def _scrambled_figure(write: Writer, name: str, rows: list[tuple[str, ...]]) -> list[Block]:
    """One figure and its margin: as blocks, or as a row that `rows` collects."""
    rng = write.rng
    joint = rng.choice((": ", " - ", " is ", ", ", " "))
    way = rng.randrange(5)
    if way == 0 and (not rows or len(rows[0]) == 3):
        rows.append((write.label(name), write.cell(name), write.prior_cell(name)))
    elif way == 1 and name in PROFITS:
        return [Paragraph(write.figure(name, with_share=True))]
    elif way == 2:
        return [Paragraph(write.figure(name)), *_scrambled_margin(write, name, joint)]
    else:
        return [Listing((f"{write.label(name)}{joint}{write.signed(name)}",)), *_scrambled_margin(write, name, joint)]
    return _scrambled_margin(write, name, joint)


def _scrambled_margin(write: Writer, name: str, joint: str) -> list[Block]:
    if name not in PROFITS:
        return []
    if write.rng.random() < 0.5:
        return [Paragraph(write.margin(name))]
    return [Listing((f"{write.margin_labels[name]}{joint}{write.share(name)}",))]
