"""Results kept as files: objects as JSON lines, the files that they refer to by their names. A part of `OrbitClient`.

Nothing is overwritten unless asked for, and what is there already under the right hash is not fetched again: a
download that was cut off goes on when it is called again. Names come from whoever made the objects, so nothing of one
but its last part is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from orbit_core.client._runs import RunCalls
from orbit_core.client.types import Download, FileRef, Json, Result, to_json
from orbit_core.errors import BlobError, ConflictError, PreconditionError

OBJECTS: Final = "objects.jsonl"
FAILURES: Final = "failures.jsonl"
FILES: Final = "files"
_KEY: Final = "$file"
_NAME_MAX_CHARS: Final = 150
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>:\"|?*]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def files_in(value: Json) -> Iterator[FileRef]:
    """Every file that an object refers to, however deep, in the order in which it does."""
    if isinstance(value, list):
        for each in cast("list[Json]", value):
            yield from files_in(each)
    elif isinstance(value, dict):
        document = cast("dict[str, Json]", value)
        found = _file(document)
        if found is not None:
            yield found
        else:
            for each in document.values():
                yield from files_in(each)


def _file(document: dict[str, Json]) -> FileRef | None:
    if set(document) != {_KEY} or not isinstance(document[_KEY], dict):
        return None
    body = cast("dict[str, Any]", document[_KEY])
    sha256, size, name = body.get("sha256"), body.get("size"), body.get("name")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or not isinstance(size, int):
        return None
    return FileRef(sha256, size, str(name or ""), str(body.get("media-type") or "application/octet-stream"))


class DownloadCalls(RunCalls):
    """What is made of the calls about runs: their results, on disk."""

    async def download(
        self,
        run_id: str,
        folder: str | Path,
        *,
        steps: Iterable[str] = (),
        follow: bool = False,
        overwrite: bool = False,
    ) -> Download:
        """Write what a run gave into `folder`, which is made where it is not there.

        `objects.jsonl` holds one object a line, `failures.jsonl` one failed lineage a line (only where there is one),
        `files/` the files by name; where two that differ share a name, each has some of its hash in it. With
        `follow` until the run has ended, else what there is now. `ConflictError` where a file is there already and
        says something else, unless `overwrite`; `PreconditionError` where the folder cannot be written.
        """
        try:
            return await self._download(run_id, Path(folder), steps, follow, overwrite)
        except OSError as error:
            raise PreconditionError(
                f"{error.filename or folder} cannot be written: {error.strerror or error}",
                remedy="name a folder that you may write to, on a disk that has room",
            ) from error

    async def _download(
        self, run_id: str, folder: Path, steps: Iterable[str], follow: bool, overwrite: bool
    ) -> Download:
        await asyncio.to_thread(_prepare, folder, overwrite)
        objects, failures = _Lines(folder / OBJECTS), _Lines(folder / FAILURES)
        refs: dict[str, FileRef] = {}
        try:
            async with aclosing(self.results(run_id, follow=follow, steps=steps)) as results:
                async for result in results:
                    if result.failure is not None:
                        await asyncio.to_thread(failures.add, _told(result))
                        continue
                    await asyncio.to_thread(objects.add, result.value)
                    refs.update((ref.sha256, ref) for ref in files_in(result.value) if ref.sha256 not in refs)
            files = [
                await self._keep(run_id, refs[sha256], folder / FILES / name, overwrite)
                for sha256, name in _names(refs.values()).items()
            ]
            await asyncio.to_thread(failures.finish, keep=failures.count > 0)
            await asyncio.to_thread(objects.finish, keep=True)  # last: its presence says that the rest is there
        finally:
            await asyncio.to_thread(_close, objects, failures)
        return Download(
            objects.path, objects.count, failures.path if failures.count else None, failures.count, tuple(files)
        )

    async def _keep(self, run_id: str, ref: FileRef, path: Path, overwrite: bool) -> Path:
        """One file, whole or not at all. Its hash is compared before it gets its name."""
        there = await asyncio.to_thread(_hash_of, path)
        if there == ref.sha256:
            return path
        if there is not None and not overwrite:
            raise _refused(path)
        part = path.with_name(f".{ref.sha256[:16]}.part")
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        digest = hashlib.sha256()
        handle: IO[bytes] = await asyncio.to_thread(part.open, "wb")
        try:
            async with aclosing(self.file(run_id, ref)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    await asyncio.to_thread(handle.write, chunk)
            handle.close()
            if digest.hexdigest() != ref.sha256:
                raise BlobError(f"{ref.name or ref.sha256} came damaged: it is not what its hash says")
            os.replace(part, path)
        finally:
            handle.close()
            part.unlink(missing_ok=True)
        return path


class _Lines:
    """A file of JSON lines that has its name only once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._part = path.with_name(f".{path.name}.part")
        self._file = self._part.open("w", encoding="utf-8")

    def add(self, value: Json) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self.count += 1

    def finish(self, *, keep: bool) -> None:
        self._file.close()
        if keep:
            os.replace(self._part, self.path)

    def close(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def _close(*lines: _Lines) -> None:
    for each in lines:
        each.close()


def _prepare(folder: Path, overwrite: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (OBJECTS, FAILURES):
        path = folder / name
        if not path.exists():
            continue
        if not overwrite:
            raise _refused(path)
        path.unlink()  # what an earlier download said of failures must not stay beside this one's objects


def _refused(path: Path) -> ConflictError:
    return ConflictError(f"{path} is there already", remedy="name another folder, or overwrite what is there")


def _told(result: Result) -> Json:
    return {
        "invocation_id": result.invocation_id,
        "step": result.step,
        "failure": to_json(result.failure),
        "attempts": result.attempts,
        "lineage": list(result.lineage),
    }


def _names(refs: Iterable[FileRef]) -> dict[str, str]:
    """A file name for each hash; names do not depend on the order in which results came."""
    sharing: dict[str, list[FileRef]] = {}
    for ref in refs:
        sharing.setdefault(_safe(ref.name) or ref.sha256, []).append(ref)
    names: dict[str, str] = {}
    for name, same in sharing.items():
        path = PurePosixPath(name)
        for ref in same:
            names[ref.sha256] = name if len(same) == 1 else f"{path.stem}.{ref.sha256[:12]}{path.suffix}"
    return names


def _safe(name: str) -> str:
    """The last part of a name, without what a file system or a terminal would make something else of."""
    last = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".").strip()
    path = PurePosixPath(last)
    return f"{path.stem[: _NAME_MAX_CHARS - len(path.suffix)]}{path.suffix}" if len(last) > _NAME_MAX_CHARS else last


def _hash_of(path: Path) -> str | None:
    with suppress(FileNotFoundError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None
