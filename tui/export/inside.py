"""Run by an exporter's own Python, by path: `python inside.py`, the export as JSON on standard input.

Imports nothing of Orbit, and what the environment brings only when it is needed. What cannot be done ends it with
status 2 and one line, the last, on standard error.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

#: Small files that say how an encoder's vectors are pooled; no exporter copies them.
_POOLING = ("1_Pooling/config.json", "sentence_bert_config.json")
GENERATION = "text-generation"
_WEIGHTS = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]


class Refused(Exception):
    """What is told in one line."""


def library(name: str) -> Any:
    """A module that the environment should have."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Refused(f"{sys.executable} lacks {error.name or name}") from error


def checkpoint(model: str, revision: str) -> Path:
    """The folder of the model's files: itself, or a copy of the repository in the hub's own cache."""
    if Path(model).is_dir():
        return Path(model)
    hub = library("huggingface_hub")
    try:
        fetch = {"repo_id": model, "revision": revision or None}
        folder = Path(hub.snapshot_download(**fetch, allow_patterns=_WEIGHTS))
        if not any(folder.rglob("*.safetensors")):  # an older repository
            folder = Path(hub.snapshot_download(**fetch, allow_patterns=[*_WEIGHTS, "pytorch_model*.bin"]))
    except Exception as error:  # the hub's own errors, and those of its transport
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Refused(f"the repository {model} cannot be fetched: {reason}") from error
    return folder


def task_of(source: Path) -> str:
    """What the model is for, from the architecture that its config.json names."""
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"config.json of the model cannot be read: {error}") from error
    names = [str(name) for name in config.get("architectures") or ()]
    if any("ForCausalLM" in name or "ForConditionalGeneration" in name for name in names):
        return GENERATION
    if any("ForSequenceClassification" in name for name in names):
        return "text-classification"
    if any(name.endswith(("Model", "ForMaskedLM")) for name in names):
        return "feature-extraction"
    raise Refused(f"the architecture {', '.join(names) or 'that config.json does not name'} tells no task: use --task")


def with_genai(source: Path, out: Path, precision: str, device: str) -> None:
    """A language model by onnxruntime-genai's builder."""
    for name in (
        "onnxruntime_genai",
        "torch",
        "transformers",
        "onnx_ir",
        "onnxscript",
    ):  # some of them it imports late
        if importlib.util.find_spec(name) is None:
            raise Refused(f"{sys.executable} lacks {name}")
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", out]
    command += ["-p", precision, "-e", device]
    if device == "cuda" and precision in ("fp16", "bf16"):
        command += ["--extra_options", "use_paged_attention=true"]
    with tempfile.TemporaryDirectory() as cache:
        done = subprocess.run([*map(str, command), "-c", cache], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        raise Refused(f"the builder refused the model: {' | '.join(lines[-3:])}")


def with_optimum(source: Path, out: Path, task: str) -> None:
    """An encoder or a classifier of sequences by optimum."""
    exporters = library("optimum.exporters.onnx")
    try:
        exporters.main_export(str(source), out, task=task, library_name="transformers", do_validation=False)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Refused(f"optimum refused the model: {reason}") from error
    for name in _POOLING:
        if (source / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, out / name)


def main() -> None:
    """The process's entry point."""
    wanted = json.load(sys.stdin)
    out = Path(wanted["out"])
    try:
        with contextlib.redirect_stdout(sys.stderr):
            source = checkpoint(wanted["model"], wanted["revision"])
            if wanted["task"] == GENERATION:
                with_genai(source, out, wanted["precision"], wanted["device"])
            else:
                with_optimum(source, out, wanted["task"])
    except Refused as error:
        print(error, file=sys.stderr)  # noqa: T201  this is what whoever started it reads
        sys.exit(2)


if __name__ == "__main__":
    main()
