"""Manifests (`orbit_core.store.models.Manifest`) made from files, and files held against them.

Where files lie is `store`'s business, where they come from that of `sources`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from orbit_agent.inference.errors import CorruptModelError
from orbit_core.store.models import Manifest, ModelFile, is_inside

_READ_BYTES: Final = 1 << 20


def safe_path(path: str) -> str:
    """`path` if it stays below the folder that it is joined to; raises `CorruptModelError`."""
    if not is_inside(path):
        raise CorruptModelError(f"{path!r} is no path inside a model's folder")
    return "/".join(PurePosixPath(path).parts)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def describe(folder: Path, paths: Iterable[str], *, name: str, source: str, revision: str) -> Manifest:
    """The manifest of the files `paths` below `folder`, in the order of their paths."""
    files = [ModelFile(path, (folder / path).stat().st_size, hash_file(folder / path)) for path in sorted(paths)]
    return Manifest(name, source, revision, tuple(files))


def verify(manifest: Manifest, folder: Path) -> None:
    """Reads every file again; raises `CorruptModelError` for the first that is missing or different."""
    for file in manifest.files:
        path = folder / file.path
        try:
            size = path.stat().st_size
            found = hash_file(path) if size == file.size_bytes else ""
        except OSError as error:
            raise _corrupt(manifest, f"{file.path} cannot be read: {error.strerror}") from error
        if size != file.size_bytes:
            raise _corrupt(manifest, f"{file.path} has {size} bytes, not {file.size_bytes}")
        if found != file.sha256:
            raise _corrupt(manifest, f"the hash of {file.path} is {found[:12]}…, not {file.sha256[:12]}…")


def _corrupt(manifest: Manifest, what: str) -> CorruptModelError:
    return CorruptModelError(
        f"model {manifest.name} is damaged: {what}", remedy=f"`orbit models pull {manifest.name}` fetches it again"
    )
