"""Models as the mesh knows them: the record under `models/<name>`, what it pins, and how a source is written.

A record is made by the coordinator and pinned, once, by the first agent that has fetched the model: from then on
every agent's copy must be the same, byte for byte. Pure data; where files lie and come from is the agents' business.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from orbit_core.errors import InvalidRequestError, ModelError
from orbit_core.ids import NAME_PATTERN

FORMAT: Final = 1
SOURCE_FORMS: Final = "folder:/path, s3://bucket/prefix, hf:owner/name@revision or package:name"

_SOURCE: Final = re.compile(
    r"folder:.+|s3://[^/\s]+(?:/.*)?|hf:[^/@\s]+(?:/[^/@\s]+)+(?:@[^@\s]+)?/?|package:[^/.\s][^/\s]*"
)


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
        """The inverse of `to_json`; raises `ModelError`."""
        try:
            data: Mapping[str, Any] = json.loads(text)
            files = tuple(ModelFile(f["path"], f["size-bytes"], f["sha256"]) for f in data["files"])
            manifest = Manifest(data["name"], data["source"], data["revision"], files)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"a model's manifest cannot be read: {error}") from error
        for file in files:
            if not is_inside(file.path):
                raise ModelError(f"a model's manifest names {file.path!r}, which is no path inside its folder")
        return manifest


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A registration. `labels`: only agents with all of them hold the model. `manifest`: None until it is pinned."""

    name: str
    source: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    added_ms: int = 0
    manifest: Manifest | None = None

    def encode(self) -> bytes:
        """The stored record."""
        record = {
            "format": FORMAT,
            "source": self.source,
            "labels": dict(self.labels),
            "added-ms": self.added_ms,
            "manifest": self.manifest.to_json() if self.manifest else None,
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()

    @staticmethod
    def decode(name: str, data: bytes) -> ModelRecord:
        """The record that `encode` made; raises `ModelError`."""
        try:
            record: Mapping[str, Any] = json.loads(data)
            manifest = record["manifest"]
            return ModelRecord(
                name=name,
                source=record["source"],
                labels=dict(record["labels"]),
                added_ms=int(record["added-ms"]),
                manifest=None if manifest is None else Manifest.from_json(manifest),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the registration of model {name} cannot be read: {error}") from error

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether an agent with these labels may hold the model."""
        return all(labels.get(key) == value for key, value in self.labels.items())


def is_inside(path: str) -> bool:
    """Whether `path` stays below the folder that it is joined to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not (path.startswith("/") or ".." in parts or "\\" in path or "\0" in path)


def check_name(name: str) -> None:
    """Raises `InvalidRequestError` for what cannot be a model's name."""
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidRequestError(
            f"{name!r} is no name for a model", remedy="a-z, 0-9, dots, dashes and underscores, 120 characters at most"
        )


def check_source(source: str) -> None:
    """Raises `InvalidRequestError` for what names no source of models; whether it can be reached is not looked at."""
    if not _SOURCE.fullmatch(source):
        raise InvalidRequestError(f"{source!r} names no source of models", remedy=SOURCE_FORMS)
