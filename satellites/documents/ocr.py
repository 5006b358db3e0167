"""Text from pictures: scans, photographs of pages, screenshots, and PDFs whose pages are pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from satellites.contract import (
    Context,
    FileRef,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteInput,
)
from satellites.documents.pdf import ocr as reader
from satellites.documents.pdf import with_pdfium
from satellites.documents.pdf.ocr import Line
from satellites.documents.pdf.parsed import unavailable
from satellites.requirements import OCR

#: A larger picture is refused before it is unpacked: a small file may hold one that takes all memory.
PICTURE_MAX_PIXELS: Final = 100_000_000
#: A larger picture is read smaller: more pixels than this make the engine slower, not better.
SIDE_MAX_PX: Final = 4_000
_PDF_MAGIC: Final = b"%PDF-"


class OcrConfig(SatelliteConfig):
    language: str = Field(default="en", min_length=2, max_length=20, description="Of the text.")
    output_format: Literal["text", "json"] = Field(
        default="text", description="`json`: each line with its place and how sure the engine is of it."
    )
    min_score: float = Field(default=0.0, ge=0, le=1, description="Leave out lines that the engine is less sure of.")


class OcrInput(SatelliteInput):
    file: dict[str, Any] = Field(description="A picture or a PDF, as `get-files` and its kin give it.")

    @field_validator("file")
    @classmethod
    def _is_file(cls, value: dict[str, Any]) -> dict[str, Any]:
        if FileRef.from_json(value) is None:
            raise ValueError("this is not a file; it comes from a step such as get-files-from-s3")
        return value


class Ocr(Satellite[OcrConfig, OcrInput]):
    """Output: `text`, or for `json` `content`: a list of `{page, width, height, lines}`, a line being
    `{text, score, box: [left, top, right, bottom]}` in pixels; and `pages`, their number.

    A file that is neither a picture nor a PDF, or a broken one, fails permanently as `picture-unreadable` or
    `pdf-unreadable`. On an agent without OCR it is `pipeline-unavailable`: another may have it. Spaces may be lost.
    """

    name = "satellite/orbit/ocr"
    aliases = ("satellite/exospherehost/ocr",)
    summary = "Reads the text in a picture"
    Config = OcrConfig
    Input = OcrInput
    requires = OCR
    resources = Resources(cpu=1.0, memory_bytes=1_536 * 1024 * 1024)
    timeout_s = 900.0
    deterministic = True
    covariate = "input-bytes"
    typical_s = 3.0

    async def run(self, config: OcrConfig, input: OcrInput, context: Context) -> list[JsonObject]:
        ref = FileRef.from_json(input.file)
        assert ref is not None
        path = await context.files.path(ref)
        pages = await asyncio.to_thread(_read, path, config)
        if not any(page["lines"] for page in pages):
            context.log.warning("%s holds no text that could be read", ref.name)
        if config.output_format == "json":
            return [{"content": pages, "pages": len(pages)}]
        text = "\n".join(line["text"] for page in pages for line in page["lines"])
        return [{"text": text, "pages": len(pages)}]


def _read(path: Path, config: OcrConfig) -> list[JsonObject]:
    with path.open("rb") as file:
        is_pdf = file.read(len(_PDF_MAGIC)) == _PDF_MAGIC
    pages = with_pdfium.drawn_pages(path) if is_pdf else _frames(path)
    return [
        {
            "page": number,
            "width": int(pixels.shape[1]),
            "height": int(pixels.shape[0]),
            "lines": [
                _shown(line) for line in reader.read_lines(pixels, config.language) if line.score >= config.min_score
            ],
        }
        for number, pixels in enumerate(pages, 1)
    ]


def _shown(line: Line) -> JsonObject:
    return {"text": line.text, "score": round(line.score, 4), "box": list(line.box)}


def _frames(path: Path) -> Iterator[Any]:
    """Every picture in the file (a fax in TIFF has many) as pixels (height × width × BGR), upright."""
    try:
        import numpy
        from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
    except ImportError as error:
        raise unavailable("Pillow", "install orbit-mesh[ocr] on it") from error
    try:
        with Image.open(path) as picture:
            for frame in ImageSequence.Iterator(picture):
                if frame.width * frame.height > PICTURE_MAX_PIXELS:
                    raise _unreadable(f"it has {frame.width} × {frame.height} pixels, more than {PICTURE_MAX_PIXELS:,}")
                upright = ImageOps.exif_transpose(frame).convert("RGB")
                upright.thumbnail((SIDE_MAX_PX, SIDE_MAX_PX))
                yield numpy.asarray(upright)[:, :, ::-1].copy()
    except UnidentifiedImageError as error:
        raise _unreadable("its format is not known") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # as Pillow's formats raise
        raise _unreadable(str(error)) from error


def _unreadable(reason: str) -> PermanentError:
    return PermanentError(f"this file cannot be read as a picture: {reason}", code="picture-unreadable")
