"""Reports as born-digital PDFs, byte for byte the same for the same report. Needs fpdf2; knows nothing of figures."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui.demo.reports.text import Kind, Line

if TYPE_CHECKING:
    from tui.demo.reports.report import Report

_FONT = "Helvetica"
_SIZES_PT: dict[Kind, float] = {"title": 16, "heading": 12, "body": 10, "row": 10}
_LEFT_MM, _TOP_MM, _WIDTH_MM = 18.0, 20.0, 174.0
_FIRST_COLUMN_SHARE = 0.4
_CREATED = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)  # fixed, so that the same report gives the same bytes


def pdf_bytes(report: Report) -> bytes:
    """The report as a PDF of one or two A4 pages, text in reading order."""
    from fpdf import FPDF  # an optional dependency: the text of a report can be had without it

    pdf = FPDF(format="A4")
    pdf.set_creation_date(_CREATED)
    pdf.set_title(f"{report.facts.company}: quarterly report")
    pdf.set_auto_page_break(auto=False)
    for page in report.pages:
        pdf.add_page()
        y_mm = _TOP_MM
        previous: Kind | None = None
        for line in page:
            size_pt = _SIZES_PT[line.kind]
            if previous is not None and (line.kind != previous or line.kind == "heading"):
                y_mm += 2.5
            pdf.set_font(_FONT, style="B" if line.kind in ("title", "heading") else "", size=size_pt)
            for x_mm, cell in _placed(line, pdf.get_string_width):
                pdf.text(x_mm, y_mm, cell)
            y_mm += size_pt * 0.5
            previous = line.kind
    return bytes(pdf.output())


def _placed(line: Line, width_mm: Callable[[str], float]) -> list[tuple[float, str]]:
    """Where each cell of a line begins: the first at the left edge, the others right-aligned in even columns."""
    placed = [(_LEFT_MM, line.cells[0])]
    if len(line.cells) > 1:
        first_mm = _WIDTH_MM * _FIRST_COLUMN_SHARE
        column_mm = (_WIDTH_MM - first_mm) / (len(line.cells) - 1)
        for index, cell in enumerate(line.cells[1:], start=1):
            placed.append((_LEFT_MM + first_mm + column_mm * index - width_mm(cell), cell))
    return placed


def write_pdf(report: Report, path: Path) -> None:
    """Write the report to `path` as a PDF."""
    path.write_bytes(pdf_bytes(report))


def damaged_pdf() -> bytes:
    """A file that calls itself a PDF and that no reader opens: cut short, without objects, table or trailer."""
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog /Pag" + bytes(range(255, 128, -1)) * 8
