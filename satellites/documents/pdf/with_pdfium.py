"""PDFs through pypdfium2: exact text where there is text, OCR for pages that are only an image.

It knows nothing of layout: lines come in the order in which the file holds them.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from satellites.documents.pdf.parsed import Ocr, Page, Parsed, encrypted, unavailable, unreadable

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

#: Sharp enough for small print; an A4 page of it takes 6 MB.
OCR_DPI: Final = 150
#: A larger page is drawn smaller: a poster must not take all memory.
OCR_SIDE_MAX_PX: Final = 4_000
#: Rules and bullets are not pictures.
PICTURE_SIDE_MIN_PX: Final = 16
_POINTS_PER_INCH: Final = 72
_PASSWORD_ERROR: Final = 4


def parse(path: Path, *, ocr: Ocr, language: str = "en") -> Parsed:
    """Text of every page. Raises `PermanentError` for what is not a PDF, `SatelliteError` where OCR is missing."""
    with _opened(path) as document:
        pages = tuple(_read(document, index, ocr, language) for index in range(len(document)))
    return Parsed(
        tier="pypdfium2+rapidocr" if any(page.ocr for page in pages) else "pypdfium2",
        pages=pages,
        markdown="\n".join(page.text for page in pages if page.text),
    )


def drawn_pages(path: Path) -> Iterator[Any]:
    """Every page as an array of pixels (height × width × BGR), one at a time."""
    with _opened(path) as document:
        for index in range(len(document)):
            with contextlib.closing(_page(document, index)) as page:
                yield _drawn(page)


def pictures(path: Path, folder: Path) -> list[Path]:
    """The pictures in the PDF as files `page-<n>-<m>.png` in `folder`, in the order of the pages."""
    if importlib.util.find_spec("PIL") is None:
        raise unavailable("Pillow", "install orbit-mesh[ocr] on it to extract images")
    saved: list[Path] = []
    with _opened(path) as document:
        for index in range(len(document)):
            for number, picture in enumerate(_pictures(document, index), 1):
                saved.append(folder / f"page-{index + 1}-{number}.png")
                picture.save(saved[-1])
    return saved


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[PdfDocument]:
    try:
        from pypdfium2 import PdfDocument, PdfiumError
    except ImportError as error:
        raise unavailable("pypdfium2", "install orbit-mesh[pdf] on it") from error
    try:
        document = PdfDocument(path)
    except PdfiumError as error:
        raise encrypted() if error.err_code == _PASSWORD_ERROR else unreadable(str(error)) from error
    with contextlib.closing(document):
        if len(document) == 0:
            raise unreadable("it has no pages")
        yield document


def _read(document: PdfDocument, index: int, ocr: Ocr, language: str) -> Page:
    with contextlib.closing(_page(document, index)) as page:
        text = _text(page)
        if ocr == "always" or (ocr == "auto" and not text):
            from satellites.documents.pdf import ocr as reader

            return Page(index + 1, reader.read(_drawn(page), language), ocr=True)
        return Page(index + 1, text)


def _page(document: PdfDocument, index: int) -> PdfPage:
    from pypdfium2 import PdfiumError

    try:
        return document[index]
    except PdfiumError as error:
        raise unreadable(f"page {index + 1}: {error}") from error


def _text(page: PdfPage) -> str:
    with contextlib.closing(page.get_textpage()) as text_page:
        lines = text_page.get_text_range().splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def _drawn(page: PdfPage) -> Any:
    """The page as an array of pixels (height × width × BGR)."""
    width, height = page.get_size()
    scale = min(OCR_DPI / _POINTS_PER_INCH, OCR_SIDE_MAX_PX / max(width, height, 1.0))
    with contextlib.closing(page.render(scale=scale)) as bitmap:  # pyright: ignore[reportArgumentType]
        return bitmap.to_numpy().copy()


def _pictures(document: PdfDocument, index: int) -> Iterator[Any]:
    from pypdfium2 import PdfiumError
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

    with contextlib.closing(document[index]) as page:
        for image in page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE]):
            # One that pdfium cannot draw is left out; the text matters more.
            with contextlib.suppress(PdfiumError):
                picture = image.get_bitmap().to_pil()  # pyright: ignore[reportAttributeAccessIssue]
                if min(picture.size) >= PICTURE_SIDE_MIN_PX:
                    yield picture
