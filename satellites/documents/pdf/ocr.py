"""Text from the image of a page, through rapidocr: its models come with its package, nothing is fetched."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any, Final

from satellites.documents.pdf.parsed import unavailable

#: Languages whose script the models that come with rapidocr do not know.
UNKNOWN_LANGUAGES: Final = frozenset(
    {"am", "ar", "be", "bg", "bn", "el", "fa", "he", "hi", "hy", "ka", "kk", "km", "ko", "lo", "mk", "ml", "mr", "my",
     "ne", "ru", "sr", "ta", "te", "th", "uk", "ur"}
)  # fmt: skip

_log = logging.getLogger(__name__)


def read(pixels: Any, language: str = "en") -> str:
    """The text of a page (height × width × BGR), its lines from top to bottom. Spaces may be lost."""
    if language.partition("-")[0].lower() in UNKNOWN_LANGUAGES:
        _log.warning("the OCR models on this agent do not know the script of %r: expect nonsense", language)
    result = _engine()(pixels)
    if result.txts is None:
        return ""
    return "\n".join(_rows(list(zip(result.boxes, result.txts, strict=True))))


@functools.cache
def _engine() -> Any:
    """One for the process: loading it takes seconds."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise unavailable("OCR, and this PDF has pages without text", "install orbit-mesh[ocr] on it") from error
    # The worker sets it to what the attempt may use.
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return RapidOCR(
        params={
            "Global.log_level": "error",
            # Pages that lie on their side are rare, and small print is read worse with it.
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _rows(found: list[tuple[Any, str]]) -> list[str]:
    """Pieces that stand beside each other become one line: the cells of a table's row are found one by one."""
    pieces = sorted((_Piece(box, text) for box, text in found), key=lambda piece: piece.middle)
    rows: list[list[_Piece]] = []
    for piece in pieces:
        if rows and abs(piece.middle - rows[-1][0].middle) < 0.5 * min(piece.height, rows[-1][0].height):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [" ".join(piece.text for piece in sorted(row, key=lambda piece: piece.left)) for row in rows]


class _Piece:
    """A piece of text where the engine found it; `box` is its four corners."""

    __slots__ = ("height", "left", "middle", "text")

    def __init__(self, box: Any, text: str) -> None:
        top, bottom = (float(edge) for edge in (min(box[:, 1]), max(box[:, 1])))
        self.left = float(min(box[:, 0]))
        self.middle = (top + bottom) / 2
        self.height = bottom - top
        self.text = text
