"""Text from a PDF, by the best means that the agent has, and it says by which."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from satellites.contract import Context, FileRef, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput
from satellites.documents.pdf import with_docling, with_pdfium
from satellites.documents.pdf.parsed import Ocr, Parsed
from satellites.requirements import PDF


class ParsePdfConfig(SatelliteConfig):
    language: str = Field(default="en", min_length=2, max_length=20, description="Of the text; only OCR looks at it.")
    output_format: Literal["markdown-string", "text", "json"] = "markdown-string"
    extract_images: bool = Field(default=False, description="Also give the pictures of the PDF, as files.")
    pipeline: Literal["auto", "standard", "native", "pypdfium2"] = Field(
        default="auto", description="`auto`: `standard` where the agent has it, else `pypdfium2`."
    )
    ocr: Ocr = Field(default="auto", description="`auto`: for pages that hold no text.")


class ParsePdfInput(SatelliteInput):
    file: dict[str, Any] = Field(description="The PDF, as `get-files` and its kin give it.")

    @field_validator("file")
    @classmethod
    def _is_file(cls, value: dict[str, Any]) -> dict[str, Any]:
        if FileRef.from_json(value) is None:
            raise ValueError("this is not a file; it comes from a step such as get-files-from-s3")
        return value


class ParsePdfWithDocling(Satellite[ParsePdfConfig, ParsePdfInput]):
    """Output, kept small since it often goes into a prompt as a whole:

    - `markdown` (for `markdown-string`), `text` (for `text`) or `content` (for `json`: a list of `{page, text, ocr}`)
    - `pages`, their number
    - `tier`, by which means: `standard` (docling with its models: headings and tables), `native` (docling without),
      `pypdfium2`, or `pypdfium2+rapidocr` where pages were read from their image. Only `standard` knows layout: in
      the others, `markdown` is the text as it stands.
    - `document`, for `json` where docling read it: its own description
    - `images`, with `extract-images`: a list of files

    A file that is no PDF, or a broken one, fails permanently as `pdf-unreadable`, one with a password as
    `pdf-encrypted`. A pipeline or OCR that the agent lacks is `pipeline-unavailable`: another may have it.
    """

    name = "satellite/exospherehost/parse-pdf-with-docling"
    aliases = ("satellite/orbit/parse-pdf-with-docling", "satellite/orbit/parse-pdf")
    summary = "Text from a PDF, with OCR for scanned pages"
    Config = ParsePdfConfig
    Input = ParsePdfInput
    requires = PDF
    resources = Resources(cpu=1.0, memory_bytes=1_536 * 1024 * 1024)
    timeout_s = 900.0
    deterministic = True
    covariate = "input-bytes"
    typical_s = 3.0

    async def run(self, config: ParsePdfConfig, input: ParsePdfInput, context: Context) -> list[JsonObject]:
        ref = FileRef.from_json(input.file)
        assert ref is not None
        path = await context.files.path(ref)
        parsed = await asyncio.to_thread(_parse, path, config)
        if not any(page.text for page in parsed.pages):
            context.log.warning("%s holds no text (tier %s, ocr %s)", ref.name, parsed.tier, config.ocr)
        result = _result(parsed, config.output_format)
        if config.extract_images:
            saved = await asyncio.to_thread(with_pdfium.pictures, path, context.scratch)
            refs = [await context.files.put(file, name=file.name, media_type="image/png") for file in saved]
            result["images"] = [ref.to_json() for ref in refs]
        return [result]


def _parse(path: Path, config: ParsePdfConfig) -> Parsed:
    tier = config.pipeline
    if tier == "auto":
        # Not `native`: without models docling gives no more than pypdfium2 does, a hundred times slower.
        tier = "standard" if with_docling.has_standard() else "pypdfium2"
    if tier == "pypdfium2":
        return with_pdfium.parse(path, ocr=config.ocr, language=config.language)
    return with_docling.parse(path, tier, ocr=config.ocr, language=config.language)


def _result(parsed: Parsed, output_format: Literal["markdown-string", "text", "json"]) -> JsonObject:
    facts: JsonObject = {"pages": len(parsed.pages), "tier": parsed.tier}
    if output_format == "markdown-string":
        return {"markdown": parsed.markdown, **facts}
    if output_format == "text":
        return {"text": "\n".join(page.text for page in parsed.pages if page.text), **facts}
    content = [{"page": page.number, "text": page.text, "ocr": page.ocr} for page in parsed.pages]
    return {"content": content, **facts} | ({"document": parsed.document} if parsed.document is not None else {})
