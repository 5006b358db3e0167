"""The files of a folder on the agent's machine, each as an object of its own."""

from __future__ import annotations

import asyncio
import fnmatch
import mimetypes
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from pydantic import Field

from orbit_core.limits import BLOB_MAX_BYTES
from satellites.contract import (
    Context,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteInput,
)
from satellites.fields import AbsolutePath, Extensions, has_extension


class GetFilesConfig(SatelliteConfig):
    path: AbsolutePath = Field(description="A folder, or one file, on the agent's machine.")
    recursive: bool = Field(default=False, description="Folders below it too. Links to folders are not followed.")
    extension: Extensions = Field(default=(), description="`pdf`, or a list; without it, every file.")
    pattern: str = Field(default="*", description="A shell pattern that the file's name must fit, such as `q?-*.pdf`.")


class GetFilesInput(SatelliteInput):
    """Nothing of its parent's object."""


class GetFiles(Satellite[GetFilesConfig, GetFilesInput]):
    """Output, one for each file in the order of their paths: `file-path` (absolute), `file-name`, `file-uri`
    (`file:///…`), `size` in bytes and `file`, the content. Names that begin with a dot are left out."""

    name = "satellite/exospherehost/get-files"
    aliases = ("satellite/orbit/get-files",)
    summary = "Lists the files of a folder on the agent's machine"
    Config = GetFilesConfig
    Input = GetFilesInput
    resources = Resources(cpu=0.25, memory_bytes=192 * 1024 * 1024)
    timeout_s = 900.0
    typical_s = 1.0

    async def run(self, config: GetFilesConfig, input: GetFilesInput, context: Context) -> AsyncIterator[JsonObject]:
        root = Path(config.path)
        try:
            paths = await asyncio.to_thread(lambda: list(_paths(root, config)))
        except OSError as error:
            raise PermanentError(f"{root} cannot be read: {error.strerror}", code="unreadable-folder") from error
        for path in paths:
            try:
                size = (await asyncio.to_thread(path.stat)).st_size
                if size > BLOB_MAX_BYTES:
                    raise PermanentError(
                        f"{path} has {size} bytes, and a file may have {BLOB_MAX_BYTES}", code="too-large"
                    )
                media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
                ref = await context.files.put(path, name=path.name, media_type=media_type)
            except FileNotFoundError:
                context.log.info("%s is gone since it was listed", path)
                continue
            yield {
                "file-path": str(path),
                "file-name": path.name,
                "file-uri": path.as_uri(),
                "size": ref.size,
                "file": ref.to_json(),
            }


def _paths(root: Path, config: GetFilesConfig) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    if not root.is_dir():
        raise PermanentError(
            f"there is no folder {root} on this agent: `get-files` reads the machine that it runs on",
            code="no-such-folder",
        )

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if config.recursive else []
        for name in sorted(names):
            wanted = has_extension(name, config.extension) and fnmatch.fnmatchcase(name, config.pattern)
            if wanted and not name.startswith("."):
                yield Path(folder, name)
