"""The environments that exporters run in: made on demand, in the user's cache, from pinned ranges of packages.

The two exporters need versions of transformers that exclude each other, and neither's is wanted beside Orbit. An
environment without its mark was interrupted while it was made, and is made anew. What is exported is not known here.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from orbit_core.errors import PreconditionError
from orbit_core.limits import GIB

#: torch and what it brings, unpacked, with pip's own copies.
ROOM_BYTES: Final = 8 * GIB
_TAIL_LINES: Final = 15

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One exporter's environment. `variable`: names a Python that has it all, and is used instead."""

    name: str
    requirements: tuple[str, ...]
    variable: str


GENAI: Final = Kind(
    "genai",
    (
        "huggingface_hub",
        "onnx",
        "onnx-ir",
        "onnxruntime-genai>=0.18,<0.19",
        "onnxscript",
        "torch>=2.13",
        "transformers>=5.23,<6",
    ),
    "ORBIT_EXPORT_PYTHON",
)
OPTIMUM: Final = Kind("optimum", ("optimum-onnx[onnxruntime]==0.1.0", "torch>=2.13"), "ORBIT_OPTIMUM_PYTHON")


class ExportError(PreconditionError):
    """A model cannot be exported."""

    code = "export"


def root() -> Path:
    """Where the environments lie."""
    return Path(platformdirs.user_cache_dir("orbit", appauthor=False)) / "export"


def folder_of(kind: Kind) -> Path:
    """The environment of these very requirements, for this very Python."""
    wanted = "\n".join((*kind.requirements, sys.version))
    return root() / f"{kind.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"


def python_of(kind: Kind, note: Note) -> Path:
    """The Python of an exporter's environment, which is made if it is not there. Raises `ExportError`."""
    folder = folder_of(kind)
    python, mark = folder / "bin" / "python", folder / ".complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if mark.is_file():
            return python
        free_bytes = shutil.disk_usage(folder.parent).free
        if free_bytes < ROOM_BYTES:
            raise ExportError(
                f"an environment for exports takes {ROOM_BYTES / GIB:.0f} GiB, {folder.parent} has "
                f"{free_bytes / GIB:.1f} GiB left",
                remedy=f"make room, or name a Python that has what it needs with --python or {kind.variable}",
            )
        note(f"making the environment {folder}, once: {', '.join(kind.requirements)}")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
            run([*pip, *kind.requirements])
        except ExportError as error:
            raise ExportError(
                f"the environment for exports cannot be made: {error.message}",
                remedy=f"see what pip says, or name a Python that has what it needs with --python or {kind.variable}",
            ) from error
        mark.touch()
    return python


def run(command: Sequence[str], stdin: str = "") -> None:
    """Runs a command; Ctrl-C ends it too. Raises `ExportError` with the last lines of what it complained."""
    try:
        done = subprocess.run(list(command), input=stdin, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ExportError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        words = "\n".join(done.stderr.strip().splitlines()[-_TAIL_LINES:])
        raise ExportError(f"{Path(command[0]).name} ended with status {done.returncode}:\n{words}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes an environment; the others wait for it."""
    with folder.with_suffix(".lock").open("w") as lock:
        with contextlib.suppress(ImportError):  # where there is no such lock, one does not export twice at a time
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
