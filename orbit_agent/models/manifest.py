"""What a model is, byte for byte: its source, the revision it was pinned to, a SHA-256 for each file.

Pure data and hashing; where files lie is `store`'s business, where they come from that of `sources`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from orbit_agent.inference.errors import CorruptModelError

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model: its path below the model's folder with forward slashes, its size, its hash."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A model pinned: `source` as it was named, `revision` as the source knows it ("" where it knows none)."""

    name: str
    source: str
    revision: str
    files: tuple[ModelFile, ...]

    @property
    def hash(self) -> str:
        """The hash of all files and their names: equal models have equal hashes, whatever they are called."""
        listing = "".join(f"{file.sha256} {file.path}\n" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> str:
        """The manifest as it is stored."""
        files = [{"path": f.path, "size-bytes": f.size_bytes, "sha256": f.sha256} for f in self.files]
        data = {"name": self.name, "source": self.source, "revision": self.revision, "files": files}
        return json.dumps(data, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> Manifest:
        """The inverse of `to_json`; raises `CorruptModelError`."""
        try:
            data: Mapping[str, Any] = json.loads(text)
            return Manifest(
                name=data["name"],
                source=data["source"],
                revision=data["revision"],
                files=tuple(ModelFile(safe_path(f["path"]), f["size-bytes"], f["sha256"]) for f in data["files"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptModelError(f"a model's manifest cannot be read: {error}") from error


def safe_path(path: str) -> str:
    """`path` if it stays below the folder that it is joined to; raises `CorruptModelError`."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise CorruptModelError(f"{path!r} is no path inside a model's folder")
    return "/".join(parts)


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
