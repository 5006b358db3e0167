"""Real pictures through the OCR satellite."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from satellites.contract import FileRef, JsonObject, PermanentError
from satellites.documents import ocr
from satellites.documents.ocr import Ocr
from tests.unit.satellites.contexts import make_context, run

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="rapidocr is not installed")

LINES = ["Acme Corporation", "Net income 12.25 million"]


def picture(*lines: str, size: tuple[int, int] = (700, 160)) -> Any:
    """Black text on white."""
    from PIL import Image, ImageDraw, ImageFont

    made = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(made)
    font = ImageFont.load_default(size=36)
    for number, line in enumerate(lines):
        draw.text((20, 20 + 60 * number), line, fill="black", font=font)
    return made


def saved(made: Any, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    made.save(file, format=format, **options)
    return file.getvalue()


async def read(tmp_path: Path, content: bytes, **config: Any) -> JsonObject:
    context = make_context(tmp_path / "scratch")
    ref = await context.files.put(content, name="scan", media_type="application/octet-stream")
    (value,) = await run(Ocr, config, {"file": ref.to_json()}, context)
    return value


def plain(text: str) -> list[str]:
    """OCR may drop spaces."""
    return [line.replace(" ", "") for line in text.splitlines()]


async def test_text_in_a_picture_is_read_line_by_line(tmp_path: Path) -> None:
    value = await read(tmp_path, saved(picture(*LINES), "PNG"))
    assert plain(value["text"]) == plain("\n".join(LINES))
    assert value["pages"] == 1


async def test_each_line_has_a_place_and_how_sure_it_is(tmp_path: Path) -> None:
    value = await read(tmp_path, saved(picture(*LINES), "JPEG"), **{"output-format": "json"})
    (page,) = value["content"]
    assert (page["page"], page["width"], page["height"]) == (1, 700, 160)
    first, second = page["lines"]
    assert 0.5 < first["score"] <= 1
    left, top, right, bottom = first["box"]
    assert 0 <= left < 60 < right <= 700
    assert 0 <= top < bottom <= second["box"][3]
    assert second["box"][1] > top
    assert (await read(tmp_path, saved(picture(*LINES), "JPEG"), **{"min-score": 1.0}))["text"] == ""


async def test_every_picture_of_a_file_is_a_page(tmp_path: Path) -> None:
    content = saved(picture("First"), "TIFF", save_all=True, append_images=[picture("Second")])
    value = await read(tmp_path, content)
    assert (plain(value["text"]), value["pages"]) == (["First", "Second"], 2)


async def test_a_picture_that_lies_on_its_side_is_turned_as_it_says(tmp_path: Path) -> None:
    from PIL import Image

    turned = picture("Acme Corporation").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn it right by a quarter to see it upright"
    value = await read(tmp_path, saved(turned, "JPEG", exif=exif))
    assert plain(value["text"]) == ["AcmeCorporation"]


async def test_a_pdf_is_read_from_the_pictures_of_its_pages(tmp_path: Path) -> None:
    value = await read(tmp_path, saved(picture(*LINES), "PDF", resolution=72.0), **{"output-format": "json"})
    (page,) = value["content"]
    assert plain("\n".join(line["text"] for line in page["lines"])) == plain("\n".join(LINES))


async def test_a_picture_without_text_gives_none_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await read(tmp_path, saved(picture(), "PNG")) == {"text": "", "pages": 1}
    assert "no text" in caplog.text


@pytest.mark.parametrize("content", [b"", b"not a picture", saved(picture("x"), "PNG")[:200]])
async def test_what_is_no_picture_fails_permanently(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PermanentError) as caught:
        await read(tmp_path, content)
    assert caught.value.code == "picture-unreadable"


async def test_a_picture_that_would_take_all_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "PICTURE_MAX_PIXELS", 100)
    with pytest.raises(PermanentError, match="700 × 160 pixels"):
        await read(tmp_path, saved(picture("x"), "PNG"))


def test_an_input_is_a_file() -> None:
    with pytest.raises(ValidationError, match="not a file"):
        Ocr.Input.model_validate({"file": {"sha256": "a"}})
    assert Ocr.Input.model_validate({"file": FileRef("a", 1, "b").to_json()})
