"""One export from start to end: the task found out, the environment had, the model made beside OUT and moved there.

Nothing half made is left at OUT: it is not there before the export has succeeded.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tui.export import environment, inside
from tui.export.environment import GENAI, OPTIMUM, ExportError, Note

TASKS: Final = (inside.GENERATION, "feature-extraction", "text-classification")
PRECISIONS: Final = ("int4", "fp32", "fp16", "bf16")

#: What a model needs to be loaded, whatever made it.
_NEEDED: Final = ("model.onnx", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Export:
    """What is wanted. `model`: a repository or a local folder; `task` may be `auto`; `out` is absolute."""

    model: str
    out: Path
    task: str = "auto"
    precision: str = "int4"
    device: str = "cpu"
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was made."""

    folder: Path
    task: str
    size_bytes: int


def export(wanted: Export, *, python: Path | None, note: Note) -> Exported:
    """Makes the model. `python`: of an environment that has what it needs, instead of one made for it.

    Raises `ExportError`.
    """
    if wanted.out.exists() and (not wanted.out.is_dir() or any(wanted.out.iterdir())):
        raise ExportError(f"{wanted.out} is there already", remedy="name a folder that is empty or not there")
    local = Path(wanted.model).expanduser()
    model = str(local.absolute()) if local.is_dir() else wanted.model
    task = wanted.task if wanted.task != "auto" else _task_of(model, wanted.revision)
    kind = GENAI if task == inside.GENERATION else OPTIMUM
    named = python or (Path(os.environ[kind.variable]) if os.environ.get(kind.variable) else None)
    runner = named or environment.python_of(kind, note)
    note(f"exporting {wanted.model} for {task} with {kind.name}")
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.out.parent, prefix=".export-") as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        request = {
            "model": model,
            "out": str(made),
            "task": task,
            "precision": wanted.precision,
            "device": wanted.device,
            "revision": wanted.revision,
        }
        try:
            environment.run([str(runner), inside.__file__], json.dumps(request))
        except ExportError as error:
            reason = error.message.strip().splitlines()[-1]
            raise ExportError(f"{wanted.model} cannot be exported: {reason}", remedy=_remedy(reason, kind)) from error
        missing = [name for name in _NEEDED if not (made / name).is_file()]
        if missing:
            raise ExportError(
                f"the export of {wanted.model} has no {' and no '.join(missing)}",
                remedy="Orbit needs a fast tokenizer: save the model's with transformers' AutoTokenizer first",
            )
        if wanted.out.exists():
            wanted.out.rmdir()
        made.rename(wanted.out)
    size_bytes = sum(path.stat().st_size for path in wanted.out.rglob("*") if path.is_file())
    return Exported(wanted.out, task, size_bytes)


def _remedy(reason: str, kind: environment.Kind) -> str:
    if " lacks " in reason:
        return f"leave --python and {kind.variable} away, or install {', '.join(kind.requirements)} there"
    if "cannot be fetched" in reason:
        return "check its name; HF_TOKEN gives access to a gated one, HF_ENDPOINT names a mirror"
    return "see whether the exporter knows this architecture; --task says what the model is for"


def _task_of(model: str, revision: str) -> str:
    """From config.json, which is small enough to be fetched before an environment is made."""
    try:
        return inside.task_of(Path(model) if Path(model).is_dir() else _config_folder(model, revision))
    except inside.Refused as error:
        raise ExportError(f"{model}: {error}", remedy="--task says what the model is for") from error


def _config_folder(model: str, revision: str) -> Path:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ExportError(
            "huggingface_hub, which looks at the repository, is missing", remedy="pip install 'orbit-mesh[cpu]'"
        ) from error
    try:
        return Path(huggingface_hub.hf_hub_download(model, "config.json", revision=revision or None)).parent
    except Exception as error:  # its own errors, those of its transport, and of the network below
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"the repository {model} cannot be read: {reason}",
            remedy="check its name; HF_TOKEN gives access to a gated one, HF_ENDPOINT names a mirror",
        ) from error
