"""Generates `orbit_core/pb/` from `proto/` (`make protos`); with `--check`, only says whether it is fresh.

Runs inside `.venv-protos`, which holds a generator old enough for the whole declared protobuf range: code made by
protoc of 6.31 runs on protobuf 6.31 and later, up to the end of 7. Imports are rewritten to `orbit_core.pb.…`, since
generated code would otherwise claim the top-level names `orbit` and `etcd`.
"""

from __future__ import annotations

import argparse
import filecmp
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
TARGET = ROOT / "orbit_core" / "pb"

_IMPORT = re.compile(r"^(from|import) (orbit|etcd)([.\s])", re.MULTILINE)
#: Qualified names in service stubs (`.pyi` only: in code the same words are method paths on the wire).
_QUALIFIED = re.compile(r"(?<![\w.])(orbit\.v1|etcd)\.(?=\w+_pb2\.)")


def generate(out: Path) -> None:
    """Writes stubs for every proto file below `proto/` into `out`."""
    import grpc_tools

    include = Path(grpc_tools.__file__).parent / "_proto"
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{include}"]
    command += [f"--{plugin}_out={out}" for plugin in ("python", "pyi", "grpc_python", "mypy_grpc")]
    subprocess.run([*command, *files], check=True, cwd=PROTO)
    for path in sorted(out.rglob("*.py*")):
        text = _IMPORT.sub(r"\1 orbit_core.pb.\2\3", path.read_text())
        if path.suffix == ".pyi":
            text = _QUALIFIED.sub(r"orbit_core.pb.\1.", text)
        path.write_text(text)
    for folder in [out, *sorted(p for p in out.rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text('"""Generated from `proto/` by `make protos`: do not edit."""\n')


def stale(fresh: Path, committed: Path) -> list[str]:
    """Files that differ, are missing or are left over."""
    names = {
        str(path.relative_to(base))
        for base in (fresh, committed)
        for path in base.rglob("*.py*")
        if "__pycache__" not in path.parts
    }
    return sorted(
        name
        for name in names
        if not (fresh / name).exists()
        or not (committed / name).exists()
        or not filecmp.cmp(fresh / name, committed / name, shallow=False)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if stale")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "pb"
        fresh.mkdir()
        generate(fresh)
        if arguments.check:
            differing = stale(fresh, TARGET)
            for name in differing:
                print(f"orbit_core/pb/{name}: stale; run `make protos` and commit", file=sys.stderr)
            return 1 if differing else 0
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(fresh, TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
