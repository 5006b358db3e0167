"""PDFs through docling, where it is installed: `standard` knows headings and tables, `native` the text only.

Nothing is ever fetched: `standard` runs only with a folder of model artefacts, named by `DOCLING_ARTIFACTS_PATH`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any, Final, Literal

from satellites.documents.pdf.parsed import Ocr, Page, Parsed, unavailable, unreadable

ARTIFACTS_VARIABLE: Final = "DOCLING_ARTIFACTS_PATH"


def has_native() -> bool:
    return importlib.util.find_spec("docling") is not None and importlib.util.find_spec("docling_parse") is not None


def has_standard() -> bool:
    return has_native() and importlib.util.find_spec("torch") is not None and _artifacts() is not None


def parse(path: Path, tier: Literal["standard", "native"], *, ocr: Ocr, language: str) -> Parsed:
    """Raises `PermanentError` for what is not a PDF, `SatelliteError` where docling or its models are missing."""
    if tier == "standard" and not has_standard():
        raise unavailable(
            "docling with its models", f"install docling-full on it and name the models' folder in {ARTIFACTS_VARIABLE}"
        )
    if not has_native():
        raise unavailable("docling", "install orbit-mesh[docling] on it")

    from docling.datamodel.base_models import ConversionStatus  # pyright: ignore[reportMissingImports]

    result = _converter(tier, ocr, language).convert(path, raises_on_error=False)
    if result.status not in (ConversionStatus.SUCCESS, ConversionStatus.PARTIAL_SUCCESS):
        raise unreadable("; ".join(item.error_message for item in result.errors) or str(result.status))
    document = result.document
    return Parsed(
        tier=tier,
        pages=tuple(Page(number, document.export_to_text(page_no=number).strip()) for number in sorted(document.pages)),
        markdown=document.export_to_markdown().strip(),
        document=document.export_to_dict(),
    )


@functools.cache
def _converter(tier: Literal["standard", "native"], ocr: Ocr, language: str) -> Any:
    """One for the process: loading the models takes seconds."""
    from docling.datamodel.base_models import InputFormat  # pyright: ignore[reportMissingImports]
    from docling.datamodel.pipeline_options import (  # pyright: ignore[reportMissingImports]
        NativePdfPipelineOptions,
        PdfPipelineOptions,
    )
    from docling.document_converter import (  # pyright: ignore[reportMissingImports]
        DocumentConverter,
        PdfFormatOption,
    )

    if tier == "native":
        from docling.pipeline.native_pdf_pipeline import NativePdfPipeline  # pyright: ignore[reportMissingImports]

        options = NativePdfPipelineOptions(generate_page_images=False, generate_picture_images=False)
        option = PdfFormatOption(pipeline_cls=NativePdfPipeline, pipeline_options=options)
    else:
        options = PdfPipelineOptions(artifacts_path=_artifacts(), do_ocr=ocr != "never", do_table_structure=True)
        options.ocr_options.force_full_page_ocr = ocr == "always"
        options.ocr_options.lang = [language]
        option = PdfFormatOption(pipeline_options=options)
    converter = DocumentConverter(allowed_formats=[InputFormat.PDF], format_options={InputFormat.PDF: option})
    try:
        converter.initialize_pipeline(InputFormat.PDF)
    except Exception as error:  # docling lets through whatever its models' libraries raise
        raise unavailable(f"usable pipeline {tier!r} of docling", f"{type(error).__name__}: {error}") from error
    return converter


def _artifacts() -> Path | None:
    named = os.environ.get(ARTIFACTS_VARIABLE)
    return Path(named) if named and Path(named).is_dir() else None
