"""Where models come from: a folder, S3, a Hugging Face repository, or Orbit's own package.

    folder:/path/to/model      s3://bucket/prefix      hf:owner/name@revision      package:name

A source lists its files first, so that room can be checked before anything is fetched, and names the revision that
it will fetch: a branch of a repository is pinned to its commit there. All of this blocks: call it on a thread.
"""

from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Protocol

from orbit_agent.inference.errors import ModelSourceError
from orbit_agent.models.manifest import safe_path
from orbit_core.store.models import check_source

PACKAGED_ROOT: Final = Path(__file__).parent / "packaged"

#: What a model is loaded from. Weights in the formats of other runtimes stay where they are.
_WANTED: Final = ("*.onnx", "*.onnx.data", "*.onnx_data", "*.json", "*.jinja", "*.model", "*.txt")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file that a source offers."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source would fetch now."""

    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all files."""
        return tuple(file.path for file in self.files)

    @property
    def size_bytes(self) -> int:
        """The size of all files."""
        return sum(file.size_bytes for file in self.files)


class Source(Protocol):
    """A place that models come from. Every method raises `ModelSourceError`."""

    def list(self) -> Listing: ...

    def fetch(self, listing: Listing, target: Path) -> None:
        """Puts the files of `listing` below `target`, an empty folder."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder on this machine."""

    path: Path

    def list(self) -> Listing:
        if not self.path.is_dir():
            raise ModelSourceError(f"there is no folder {self.path}")
        paths = [(p.relative_to(self.path).as_posix(), p) for p in sorted(self.path.rglob("*")) if p.is_file()]
        files = [RemoteFile(name, path.stat().st_size) for name, path in paths if _wanted(name)]
        return _listing("", files, f"the folder {self.path}")

    def fetch(self, listing: Listing, target: Path) -> None:
        for file in listing.files:
            destination = _destination(target, file.path)
            try:
                shutil.copyfile(self.path / file.path, destination)
            except OSError as error:
                raise ModelSourceError(f"{file.path} of {self.path} cannot be copied: {error}") from error


@dataclass(frozen=True, slots=True)
class S3Source:
    """All objects below a prefix of a bucket; endpoint and credentials come from the environment."""

    bucket: str
    prefix: str

    def _client(self) -> Any:
        import boto3

        return boto3.client("s3")

    def list(self) -> Listing:
        from botocore.exceptions import BotoCoreError, ClientError

        start = f"{self.prefix}/" if self.prefix else ""
        files: list[RemoteFile] = []
        try:
            for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start):
                files += [
                    RemoteFile(item["Key"][len(start) :], item["Size"])
                    for item in page.get("Contents", ())
                    if _wanted(item["Key"][len(start) :])
                ]
        except (BotoCoreError, ClientError) as error:
            raise ModelSourceError(f"s3://{self.bucket}/{self.prefix} cannot be listed: {error}") from error
        return _listing("", files, f"s3://{self.bucket}/{self.prefix}")

    def fetch(self, listing: Listing, target: Path) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client()
        start = f"{self.prefix}/" if self.prefix else ""
        for file in listing.files:
            destination = _destination(target, file.path)
            try:
                client.download_file(self.bucket, start + file.path, str(destination))
            except (BotoCoreError, Boto3Error, ClientError, OSError) as error:
                raise ModelSourceError(f"s3://{self.bucket}/{start}{file.path} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class HuggingFaceSource:
    """A repository on the Hugging Face hub (or its mirror, `HF_ENDPOINT`); `folder` inside it, "" for its root."""

    repository: str
    revision: str
    folder: str = ""

    def list(self) -> Listing:
        import huggingface_hub

        try:
            info = huggingface_hub.HfApi().model_info(
                self.repository, revision=self.revision or None, files_metadata=True
            )
        except Exception as error:  # its own errors, those of its transport, and of the network below
            raise _hub_error(f"Hugging Face repository {self.repository} cannot be listed", error) from error
        start = f"{self.folder}/" if self.folder else ""
        files = [
            RemoteFile(sibling.rfilename[len(start) :], sibling.size or 0)
            for sibling in info.siblings or ()
            if sibling.rfilename.startswith(start) and _wanted(sibling.rfilename[len(start) :])
        ]
        if not info.sha:
            raise ModelSourceError(f"Hugging Face repository {self.repository} names no commit to pin")
        return _listing(info.sha, files, f"the repository {self.repository}")

    def fetch(self, listing: Listing, target: Path) -> None:
        import huggingface_hub

        start = f"{self.folder}/" if self.folder else ""
        for file in listing.files:
            destination = _destination(target, file.path)
            try:
                fetched = huggingface_hub.hf_hub_download(
                    self.repository, start + file.path, revision=listing.revision, local_dir=target / ".hub"
                )
                shutil.move(fetched, destination)
            except Exception as error:  # as above
                raise _hub_error(f"{file.path} of {self.repository} cannot be fetched", error) from error


@dataclass(frozen=True, slots=True)
class PackagedSource:
    """A model that ships with Orbit."""

    name: str
    root: Path = PACKAGED_ROOT

    def list(self) -> Listing:
        return self.folder.list()

    def fetch(self, listing: Listing, target: Path) -> None:
        self.folder.fetch(listing, target)

    @property
    def folder(self) -> FolderSource:
        """Where it lies."""
        return FolderSource(self.root / self.name)


def parse_source(text: str) -> Source:
    """The source that `text` names, in one of the four forms above. Raises `InvalidRequestError`."""
    check_source(text)
    kind, _, rest = text.partition(":")
    match kind:
        case "folder":
            return FolderSource(Path(rest).expanduser().absolute())
        case "s3":
            bucket, _, prefix = rest[2:].partition("/")
            return S3Source(bucket, prefix.strip("/"))
        case "hf":
            place, _, revision = rest.strip("/").partition("@")
            owner, name, *folder = place.split("/")
            return HuggingFaceSource(f"{owner}/{name}", revision, "/".join(folder))
        case _:
            return PackagedSource(rest)


def _hub_error(what: str, error: Exception) -> ModelSourceError:
    """What went wrong with the hub; that it cannot be reached at all is told apart from what it answers."""
    from huggingface_hub import constants

    if not _is_unreachable(error):
        return ModelSourceError(f"{what}: {_said(error)}")
    return ModelSourceError(
        f"{what}: {constants.ENDPOINT} cannot be reached from this agent ({_said(error)})",
        remedy="check its way to the internet, or name a mirror in HF_ENDPOINT; a folder or S3 needs neither",
    )


def _is_unreachable(error: BaseException | None) -> bool:
    """Whether the network below failed: libraries wrap its errors in their own."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
            return True
        if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return True
        error = error.__cause__ or error.__context__
    return False


def _said(error: Exception) -> str:
    """What the hub's client says, in one line: it adds advice that is not about this program."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _wanted(path: str) -> bool:
    hidden = any(part.startswith(".") for part in path.split("/"))
    return bool(path) and not hidden and any(fnmatch(path, pattern) for pattern in _WANTED)


def _listing(revision: str, files: Sequence[RemoteFile], place: str) -> Listing:
    if not files:
        raise ModelSourceError(f"{place} holds no model", remedy="`orbit models export` makes ONNX from a model")
    return Listing(revision, tuple(RemoteFile(safe_path(file.path), file.size_bytes) for file in files))


def _destination(target: Path, path: str) -> Path:
    destination = target / path
    destination.parent.mkdir(parents=True, exist_ok=True)
    return destination
