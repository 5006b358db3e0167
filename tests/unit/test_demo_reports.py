"""The demonstration's reports: reproducible, consistent with their answers, and read back from their PDFs unchanged."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest

from tui.demo.reports import (
    FIELD_NAMES,
    HELD_OUT,
    NUMBER_FIELDS,
    OUTPUT_SCHEMA,
    TRAIN,
    Split,
    damaged_pdf,
    layout_names,
    make_report,
    make_reports,
    pdf_bytes,
    write_pdf,
)
from tui.demo.reports.names import HELD_OUT_NAMES, TRAIN_NAMES, NameParts

SPLITS: tuple[Split, ...] = (TRAIN, HELD_OUT)
EVERY_LAYOUT = [(split, layout) for split in SPLITS for layout in layout_names(split)]


def read_back(pdf: bytes) -> str:
    pdfium = pytest.importorskip("pypdfium2", reason="the pdf extra is not installed")
    document = pdfium.PdfDocument(pdf)
    try:
        pages = [page.get_textpage().get_text_range() for page in document]
    finally:
        document.close()
    return "\n".join(page.replace("\r\n", "\n") for page in pages)


def test_the_same_seed_gives_the_same_reports_and_another_seed_others() -> None:
    first, again, other = (make_reports(8, seed=seed) for seed in (7, 7, 8))
    assert [report.text for report in first] == [report.text for report in again]
    assert not {report.text for report in first} & {report.text for report in other}


@pytest.mark.parametrize(("split", "layout"), EVERY_LAYOUT)
def test_a_pdf_gives_back_the_text_that_the_model_was_trained_on(split: Split, layout: str) -> None:
    pytest.importorskip("fpdf", reason="the demo extra is not installed")
    for number in range(12):
        report = make_report(number, seed=1, split=split, layout=layout)
        assert read_back(pdf_bytes(report)) == report.text


@pytest.mark.parametrize(("split", "layout"), EVERY_LAYOUT)
def test_every_field_of_the_answer_is_printed_in_the_report(split: Split, layout: str) -> None:
    for number in range(40):
        report = make_report(number, seed=2, split=split, layout=layout)
        text = " ".join(report.text.split())
        plain = text.replace(",", "")
        fields = json.loads(report.answer, parse_float=Decimal)
        assert fields["company"] in text
        assert fields["year"] in text
        for name in NUMBER_FIELDS:
            size = abs(fields[name])
            in_billions = f"{Decimal(size) / 1000:.3f}"
            assert re.search(rf"(?<![\d.]){re.escape(str(size))}(?![\d.]*\d)", plain) or in_billions in plain, name


def test_answers_fit_the_schema_in_its_order_and_margins_follow_from_the_amounts() -> None:
    for report in make_reports(200, seed=3):
        fields = report.fields()
        jsonschema.validate(fields, OUTPUT_SCHEMA)
        assert tuple(fields) == FIELD_NAMES == tuple(OUTPUT_SCHEMA["properties"])
        numbers = {name: Decimal(str(fields[name])) for name in NUMBER_FIELDS}
        for name in ("net-income", "gross-profit", "operating-income"):
            exact = 100 * numbers[name] / numbers["revenue"]
            assert abs(numbers[f"{name}-margin"] - exact) <= Decimal("0.05")


def test_some_quarters_end_in_a_loss() -> None:
    losses = [report for report in make_reports(200, seed=4) if report.facts.current.net_income < 0]
    assert 5 <= len(losses) <= 60
    assert all(report.fields()["net-income"] < 0 for report in losses)  # type: ignore[operator]


def test_the_splits_share_no_layout_and_no_part_of_a_name() -> None:
    assert not set(layout_names(TRAIN)) & set(layout_names(HELD_OUT))
    for part in NameParts.__dataclass_fields__:
        assert not set(getattr(TRAIN_NAMES, part)) & set(getattr(HELD_OUT_NAMES, part)), part


def test_a_few_reports_show_every_layout_under_names_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("fpdf", reason="the demo extra is not installed")
    reports = make_reports(24, seed=5)
    assert {report.layout for report in reports} == set(layout_names(HELD_OUT))
    assert len({report.file_name for report in reports}) == 24
    write_pdf(reports[0], tmp_path / reports[0].file_name)
    assert (tmp_path / reports[0].file_name).read_bytes() == pdf_bytes(reports[0])


def test_no_reader_opens_the_damaged_one() -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="the pdf extra is not installed")
    assert damaged_pdf().startswith(b"%PDF-")
    with pytest.raises(pdfium.PdfiumError):
        pdfium.PdfDocument(damaged_pdf())
