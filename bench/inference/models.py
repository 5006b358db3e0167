"""Which model the benchmark runs over: one of 26 million parameters where it can be made, else the tests' tiny one.

An untrained model costs what a trained one of its size costs. It is made once, in an export environment that
`ORBIT_EXPORT_PYTHON` names, and kept in the user's cache folder.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

ROOT: Final = Path(__file__).parents[2]
TINY: Final = ROOT / "tests" / "data" / "tiny_llm"
CACHE: Final = Path(platformdirs.user_cache_dir("orbit")) / "bench"


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model folder, and its Hugging Face checkpoint where it was kept (optimum starts from that)."""

    name: str
    folder: Path
    checkpoint: Path | None


def bench_model(precision: str) -> BenchModel:
    """The model of `precision` ("fp32", "int4")."""
    folder, checkpoint = CACHE / f"llama-26m-{precision}", CACHE / f"llama-26m-{precision}-checkpoint"
    python = os.environ.get("ORBIT_EXPORT_PYTHON")
    if not (folder / "model.onnx").is_file() and python:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [python, "-m", "tools.make_tiny_llm", "bench", str(folder), "--precision", precision]
        subprocess.run([*command, "--checkpoint", str(checkpoint)], check=True, cwd=ROOT, capture_output=True)
    if (folder / "model.onnx").is_file():
        kept = checkpoint if precision == "fp32" and checkpoint.is_dir() else None
        return BenchModel(f"untrained Llama, 26 M parameters, {precision}", folder, kept)
    return BenchModel(
        "the tests' tiny Llama, 34 k parameters, fp32 (set ORBIT_EXPORT_PYTHON for one of 26 M)", TINY, None
    )
