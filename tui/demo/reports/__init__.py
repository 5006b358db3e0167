"""Quarterly reports of invented companies, as text and as real PDFs, with the right answers beside them.

The same seed always gives the same reports. Two splits share nothing but the plain words of finance: `TRAIN` is
what the demonstration model has seen, `HELD_OUT` has other layouts, other sentences and other company names, and
is what the demonstration and every evaluation use.
"""

from tui.demo.reports.facts import HELD_OUT, TRAIN, Facts, Split
from tui.demo.reports.layouts import HELD_OUT_LAYOUTS, TRAIN_LAYOUTS, layout_names
from tui.demo.reports.pdf import damaged_pdf, pdf_bytes, write_pdf
from tui.demo.reports.report import FIELD_NAMES, NUMBER_FIELDS, OUTPUT_SCHEMA, Report, make_report, make_reports

__all__ = [
    "FIELD_NAMES",
    "HELD_OUT",
    "HELD_OUT_LAYOUTS",
    "NUMBER_FIELDS",
    "OUTPUT_SCHEMA",
    "TRAIN",
    "TRAIN_LAYOUTS",
    "Facts",
    "Report",
    "Split",
    "damaged_pdf",
    "layout_names",
    "make_report",
    "make_reports",
    "pdf_bytes",
    "write_pdf",
]
