"""What reading a PDF gives, whichever way it was read, and the ways in which it fails. No library is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from satellites.contract import PermanentError, SatelliteError

Ocr = Literal["auto", "never", "always"]
Tier = Literal["standard", "native", "pypdfium2", "pypdfium2+rapidocr"]


@dataclass(frozen=True, slots=True)
class Page:
    """`number` counts from 1. `ocr`: the text was read from an image of the page."""

    number: int
    text: str
    ocr: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """`markdown` holds headings and tables in the tier `standard` only; elsewhere it is the text. `document` is
    docling's own description, where docling read it."""

    tier: Tier
    pages: tuple[Page, ...]
    markdown: str
    document: dict[str, Any] | None = None


def unreadable(reason: str) -> PermanentError:
    return PermanentError(f"this file cannot be read as a PDF: {reason}", code="pdf-unreadable")


def encrypted() -> PermanentError:
    return PermanentError("this PDF is protected by a password", code="pdf-encrypted")


def unavailable(what: str, remedy: str) -> SatelliteError:
    """Not permanent: another agent may have it."""
    return SatelliteError(f"this agent has no {what}: {remedy}", code="pipeline-unavailable")
