"""Real PDFs through the PDF satellite: born-digital, scanned, broken, locked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from fpdf import FPDF

from satellites.contract import FileRef, JsonObject, PermanentError, SatelliteError
from satellites.documents.parse_pdf_with_docling import ParsePdfWithDocling
from tests.unit.satellites.contexts import FolderFiles, make_context, run

LINES = ["Acme Corporation", "Revenue of the third quarter: 125.5 million", "Net income: 12.25 million"]

needs_ocr = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="rapidocr is not installed")


def digital(*pages: list[str], password: str | None = None) -> bytes:
    pdf = FPDF(format="A4")
    if password is not None:
        pdf.set_encryption(owner_password=password, user_password=password)
    for lines in pages:
        pdf.add_page()
        pdf.set_font("Helvetica", size=14)
        for number, line in enumerate(lines):
            pdf.text(20, 30 + 10 * number, line)
    return bytes(pdf.output())


def scanned(tmp_path: Path, lines: list[str]) -> bytes:
    """A PDF of one page that is nothing but a picture of those lines."""
    from pypdfium2 import PdfDocument

    document = PdfDocument(digital(lines))
    image = tmp_path / "scan.png"
    document[0].render(scale=2).to_pil().save(image)
    document.close()
    pdf = FPDF(format="A4")
    pdf.add_page()
    pdf.image(str(image), 0, 0, 210, 297)
    return bytes(pdf.output())


async def parse(tmp_path: Path, content: bytes, **config: Any) -> tuple[JsonObject, FolderFiles]:
    context = make_context(tmp_path / "scratch")
    ref = await context.files.put(content, name="report.pdf", media_type="application/pdf")
    (value,) = await run(ParsePdfWithDocling, config, {"file": ref.to_json(), "file-path": "a"}, context)
    assert isinstance(context.files, FolderFiles)
    return value, context.files


async def test_text_comes_exactly_and_the_tier_is_named(tmp_path: Path) -> None:
    content = digital(LINES, ["Second page"])
    example = {"language": "en", "output-format": "markdown-string", "extract-images": False}
    value, _ = await parse(tmp_path, content, **example)
    assert value == {"markdown": "\n".join([*LINES, "Second page"]), "pages": 2, "tier": "pypdfium2"}

    value, _ = await parse(tmp_path, content, **{"output-format": "text"})
    assert value == {"text": "\n".join([*LINES, "Second page"]), "pages": 2, "tier": "pypdfium2"}

    value, _ = await parse(tmp_path, content, **{"output-format": "json"})
    assert value["content"] == [
        {"page": 1, "text": "\n".join(LINES), "ocr": False},
        {"page": 2, "text": "Second page", "ocr": False},
    ]


@needs_ocr
async def test_a_scanned_page_is_read_from_its_image(tmp_path: Path) -> None:
    content = scanned(tmp_path, LINES)
    value, _ = await parse(tmp_path, content, **{"output-format": "json"})
    assert value["tier"] == "pypdfium2+rapidocr"
    (page,) = value["content"]
    assert page["ocr"] is True
    # OCR may drop spaces.
    assert [line.replace(" ", "") for line in page["text"].splitlines()] == [line.replace(" ", "") for line in LINES]

    value, _ = await parse(tmp_path, content, ocr="never")
    assert value == {"markdown": "", "pages": 1, "tier": "pypdfium2"}


@needs_ocr
async def test_pictures_come_as_files(tmp_path: Path) -> None:
    value, files = await parse(tmp_path, scanned(tmp_path, LINES), **{"extract-images": True, "ocr": "never"})
    (image,) = value["images"]
    ref = FileRef.from_json(image)
    assert ref is not None
    assert (ref.name, ref.media_type) == ("page-1-1.png", "image/png")
    assert files.read(image).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "content",
    [b"", b"this is not a PDF", b"%PDF-1.7\n" + b"\x00" * 100, digital(LINES)[: len(digital(LINES)) // 3]],
    ids=["empty", "text", "zeros", "cut"],
)
async def test_what_is_no_pdf_is_permanent(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        await parse(tmp_path, content)
    assert caught.value.code == "pdf-unreadable"


async def test_a_locked_pdf_says_so(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="password") as caught:
        await parse(tmp_path, digital(LINES, password="x"))
    assert caught.value.code == "pdf-encrypted"


@pytest.mark.skipif(importlib.util.find_spec("docling") is not None, reason="docling is installed")
@pytest.mark.parametrize("pipeline", ["standard", "native"])
async def test_a_pipeline_that_this_agent_lacks_may_be_had_elsewhere(tmp_path: Path, pipeline: str) -> None:
    with pytest.raises(SatelliteError, match="docling") as caught:
        await parse(tmp_path, digital(LINES), pipeline=pipeline)
    assert caught.value.code == "pipeline-unavailable"
    assert not isinstance(caught.value, PermanentError)


@pytest.mark.skipif(importlib.util.find_spec("docling_parse") is None, reason="docling is not installed")
async def test_docling_without_models_reads_text_and_refuses_what_is_broken(tmp_path: Path) -> None:
    value, _ = await parse(tmp_path, digital(LINES), **{"pipeline": "native", "output-format": "json"})
    assert value["tier"] == "native"
    assert all(line in value["content"][0]["text"] for line in LINES)
    assert value["document"]["schema_name"] == "DoclingDocument"
    with pytest.raises(PermanentError) as caught:
        await parse(tmp_path, b"this is not a PDF", pipeline="native")
    assert caught.value.code == "pdf-unreadable"
