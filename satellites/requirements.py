"""What built-in satellites need beyond a bare installation: one tuple for each extra that brings it."""

from __future__ import annotations

from typing import Final

from satellites.contract import Requirement

_MODELS: Final = "orbit-mesh[cpu] or orbit-mesh[gpu]"

#: The agent's model server, for whatever asks a model.
MODELS: Final = tuple(Requirement(module, _MODELS) for module in ("onnxruntime", "onnxruntime_genai", "tokenizers"))
PDF: Final = (Requirement("pypdfium2", "orbit-mesh[pdf]"),)
OCR: Final = (Requirement("rapidocr", "orbit-mesh[ocr]"), Requirement("pypdfium2", "orbit-mesh[ocr]"))
