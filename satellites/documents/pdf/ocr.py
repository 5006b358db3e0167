"""Text from the image of a page, through rapidocr: its models come with its package, nothing is fetched.

How the image comes to be is not known here: a page of a PDF is drawn, a scan is opened.
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from typing import Any, Final

from satellites.documents.pdf.parsed import unavailable

#: Languages whose script the models that come with rapidocr do not know.
UNKNOWN_LANGUAGES: Final = frozenset(
    {"am", "ar", "be", "bg", "bn", "el", "fa", "he", "hi", "hy", "ka", "kk", "km", "ko", "lo", "mk", "ml", "mr", "my",
     "ne", "ru", "sr", "ta", "te", "th", "uk", "ur"}
)  # fmt: skip

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, how sure the engine is of it (0 to 1), and its place: left, top, right, bottom in pixels."""

    text: str
    score: float
    box: tuple[int, int, int, int]


def read(pixels: Any, language: str = "en") -> str:
    """The text of a page (height × width × BGR), its lines from top to bottom. Spaces may be lost."""
    return "\n".join(line.text for line in read_lines(pixels, language))


def read_lines(pixels: Any, language: str = "en") -> list[Line]:
    """The lines of a page (height × width × BGR), from top to bottom. Spaces may be lost."""
    if language.partition("-")[0].lower() in UNKNOWN_LANGUAGES:
        _log.warning("the OCR models on this agent do not know the script of %r: expect nonsense", language)
    result = _engine()(pixels)
    if result.txts is None:
        return []
    return _lines([_Piece(*each) for each in zip(result.boxes, result.txts, result.scores, strict=True)])


@functools.cache
def _engine() -> Any:
    """One for the process: loading it takes seconds."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise unavailable("OCR, and this text is only in a picture", "install orbit-mesh[ocr] on it") from error
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


def _lines(found: list[_Piece]) -> list[Line]:
    """Pieces that stand beside each other become one line: the cells of a table's row are found one by one."""
    rows: list[list[_Piece]] = []
    for piece in sorted(found, key=lambda piece: piece.middle):
        if rows and abs(piece.middle - rows[-1][0].middle) < 0.5 * min(piece.height, rows[-1][0].height):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    return [_line(sorted(row, key=lambda piece: piece.left)) for row in rows]


def _line(row: list[_Piece]) -> Line:
    box = (
        round(min(piece.left for piece in row)),
        round(min(piece.top for piece in row)),
        round(max(piece.right for piece in row)),
        round(max(piece.bottom for piece in row)),
    )
    return Line(" ".join(piece.text for piece in row), min(piece.score for piece in row), box)


class _Piece:
    """A piece of text where the engine found it; `corners` are its four."""

    __slots__ = ("bottom", "height", "left", "middle", "right", "score", "text", "top")

    def __init__(self, corners: Any, text: str, score: Any) -> None:
        self.left, self.right = float(min(corners[:, 0])), float(max(corners[:, 0]))
        self.top, self.bottom = float(min(corners[:, 1])), float(max(corners[:, 1]))
        self.middle = (self.top + self.bottom) / 2
        self.height = self.bottom - self.top
        self.text = text
        self.score = float(score)
