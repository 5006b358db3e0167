"""The committed demonstration model reads reports that it has never seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.demo.reports import FIELD_NAMES, HELD_OUT, layout_names, make_reports

pytest.importorskip("onnxruntime_genai", reason="the cpu extra is not installed")
pytest.importorskip("tokenizers", reason="the cpu extra is not installed")

MODEL = Path(__file__).parents[2] / "orbit_agent" / "models" / "packaged" / "orbit-demo"
MODEL_MAX_BYTES = 8 * 1000 * 1000


def test_nine_of_ten_fields_of_unseen_reports_are_right() -> None:
    from tools.demo_model.evaluate import Reader, right_fields

    reports = make_reports(8, seed=424_242)
    assert {report.layout for report in reports} == set(layout_names(HELD_OUT))
    reader = Reader(MODEL, guided=True)
    right = sum(len(right_fields(report, reader.answer(report.text)[0])) for report in reports)
    assert right >= 0.9 * len(reports) * len(FIELD_NAMES)


def test_the_model_is_small_enough_to_be_shipped() -> None:
    assert sum(file.stat().st_size for file in MODEL.iterdir()) <= MODEL_MAX_BYTES
