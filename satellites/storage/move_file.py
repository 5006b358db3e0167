"""Moves one file between buckets, or between a bucket and a folder of the agent's machine.

Copied first, deleted last: at every moment the file is at one of the two places at least. Doing it again, after
some or all of it was done, ends the same.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from satellites.contract import (
    Context,
    JsonObject,
    PermanentError,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteError,
    SatelliteInput,
)
from satellites.storage.s3 import Bucket, Location

Source = Literal["s3", "local"]


class MoveFileConfig(SatelliteConfig):
    origin_source: Source
    origin_bucket: str | None = Field(default=None, description="For s3.")
    origin_file_path: str = Field(min_length=1, description="Key, or path on the agent's machine.")
    origin_endpoint_url: str | None = None
    origin_region: str | None = None
    destination_source: Source
    destination_bucket: str | None = Field(default=None, description="For s3.")
    destination_file_path: str = Field(min_length=1, description="Key, or path; what is there is replaced.")
    destination_endpoint_url: str | None = None
    destination_region: str | None = None
    endpoint_url: str | None = Field(default=None, description="For both sides, where a side does not say its own.")
    region: str | None = Field(default=None, description="For both sides, where a side does not say its own.")

    @model_validator(mode="after")
    def _sides_are_whole(self) -> MoveFileConfig:
        for side in ("origin", "destination"):
            if getattr(self, f"{side}_source") == "s3" and not getattr(self, f"{side}_bucket"):
                raise ValueError(f"`{side}-source: s3` needs `{side}-bucket`")
            if getattr(self, f"{side}_source") == "local" and not os.path.isabs(getattr(self, f"{side}_file_path")):
                raise ValueError(f"`{side}-source: local` needs an absolute `{side}-file-path`")
        return self


class MoveFileInput(SatelliteInput):
    """Nothing of its parent's object."""


class MoveFile(Satellite[MoveFileConfig, MoveFileInput]):
    """Output: `file-uri`, `file-path`, `file-name` and `size` of the file where it is now.

    Secrets: `ORIGIN_AWS_ACCESS_KEY`, `ORIGIN_AWS_SECRET_KEY` (and `ORIGIN_AWS_SESSION_TOKEN`), the same with
    `DESTINATION_`; a name without the prefix serves both sides.
    """

    name = "satellite/exospherehost/move-file"
    aliases = ("satellite/orbit/move-file",)
    summary = "Moves a file between S3 buckets and folders"
    Config = MoveFileConfig
    Input = MoveFileInput
    resources = Resources(cpu=0.25, memory_bytes=384 * 1024 * 1024)
    timeout_s = 1_800.0
    effects = "outside"
    covariate = "input-bytes"
    typical_s = 1.0

    async def run(self, config: MoveFileConfig, input: MoveFileInput, context: Context) -> list[JsonObject]:
        origin = await _place(config, "origin", context)
        destination = await _place(config, "destination", context)
        size = await origin.size()
        if size is None:
            size = await destination.size()
            if size is None:
                raise PermanentError(
                    f"there is no file at {origin.uri()}, nor at {destination.uri()}", code="no-such-file"
                )
            context.log.info("%s has been moved before", origin.uri())
        elif not origin.same_as(destination):
            await _copy(origin, destination, context.scratch)
            arrived = await destination.size()
            if arrived != size:
                raise SatelliteError(
                    f"{size} bytes were sent to {destination.uri()} and {arrived} arrived", code="copy-incomplete"
                )
            await origin.delete()
        return [
            {
                "file-uri": destination.uri(),
                "file-path": destination.path,
                "file-name": destination.path.rpartition("/")[2],
                "size": size,
            }
        ]


class _Place(ABC):
    """Where a file is, or is to be."""

    path: str

    @abstractmethod
    def uri(self) -> str: ...

    @abstractmethod
    def same_as(self, other: _Place) -> bool:
        """Whether the two are one file."""

    @abstractmethod
    async def size(self) -> int | None: ...

    @abstractmethod
    async def delete(self) -> None: ...

    @abstractmethod
    async def fetch(self, target: Path) -> None: ...

    @abstractmethod
    async def store(self, source: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class _InBucket(_Place):
    bucket: Bucket
    path: str

    def uri(self) -> str:
        return self.bucket.location.uri(self.path)

    def same_as(self, other: _Place) -> bool:
        if not isinstance(other, _InBucket) or self.uri() != other.uri():
            return False
        return self.bucket.location.endpoint_url == other.bucket.location.endpoint_url

    async def size(self) -> int | None:
        return await self.bucket.size_of(self.path)

    async def delete(self) -> None:
        await self.bucket.delete(self.path)

    async def fetch(self, target: Path) -> None:
        await self.bucket.download(self.path, target)

    async def store(self, source: Path) -> None:
        await self.bucket.upload(source, self.path)

    async def copy_to(self, other: _InBucket) -> None:
        """Inside S3, without passing through this machine."""
        source = {"Bucket": self.bucket.location.bucket, "Key": self.path}
        client, target = other.bucket.client, other.bucket.location.bucket
        await other.bucket.call("write", other.path, lambda: client.copy(source, target, other.path))


@dataclass(frozen=True, slots=True)
class _InFolder(_Place):
    path: str

    def uri(self) -> str:
        return Path(self.path).as_uri()

    def same_as(self, other: _Place) -> bool:
        return isinstance(other, _InFolder) and self.path == other.path

    async def size(self) -> int | None:
        path = Path(self.path)
        return await asyncio.to_thread(lambda: path.stat().st_size if path.is_file() else None)

    async def delete(self) -> None:
        await asyncio.to_thread(Path(self.path).unlink, missing_ok=True)

    async def fetch(self, target: Path) -> None:
        await asyncio.to_thread(shutil.copyfile, self.path, target)

    async def store(self, source: Path) -> None:
        await asyncio.to_thread(self._store, source)

    def _store(self, source: Path) -> None:
        target = Path(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under its name only once it is whole.
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.copyfile(source, partial)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


async def _place(config: MoveFileConfig, side: Literal["origin", "destination"], context: Context) -> _Place:
    path: str = getattr(config, f"{side}_file_path")
    if getattr(config, f"{side}_source") == "local":
        return _InFolder(path)
    location = Location.of(
        getattr(config, f"{side}_bucket"),
        endpoint_url=getattr(config, f"{side}_endpoint_url") or config.endpoint_url,
        region=getattr(config, f"{side}_region") or config.region,
        secrets=context.secrets,
        secret_prefix=f"{side.upper()}_",
    )
    return _InBucket(await Bucket.open(location, context), path)


async def _copy(origin: _Place, destination: _Place, scratch: Path) -> None:
    try:
        if (
            isinstance(origin, _InBucket)
            and isinstance(destination, _InBucket)
            and origin.bucket.location.same_account(destination.bucket.location)
        ):
            await origin.copy_to(destination)
        else:
            passing = scratch / "moving"
            await origin.fetch(passing)
            await destination.store(passing)
    except OSError as error:
        raise SatelliteError(f"{origin.uri()} cannot be copied to {destination.uri()}: {error}", code="io") from error
