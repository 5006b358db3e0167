"""The objects of a bucket, each as an object of its own, with its content."""

from __future__ import annotations

import asyncio
import fnmatch
import mimetypes
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from pydantic import Field

from orbit_core.ids import content_hash
from orbit_core.limits import BLOB_MAX_BYTES
from satellites.contract import (
    Context,
    JsonObject,
    Resources,
    Satellite,
    SatelliteConfig,
    SatelliteError,
    SatelliteInput,
)
from satellites.fields import Extensions, has_extension
from satellites.storage.s3 import MISSING_KEY, Bucket, Location

#: Objects that are fetched at once; listing goes no further ahead than this.
FETCHES_AT_ONCE: Final = 8
PAGE_MAX_OBJECTS: Final = 1_000


class GetFilesFromS3Config(SatelliteConfig):
    bucket: str = Field(min_length=1)
    prefix: str = Field(default="", description="Only keys that begin so; `sec` means `sec/a.pdf` and `sec-2.pdf`.")
    recursive: bool = Field(default=False, description="Also keys with a further `/` after the prefix's folder.")
    extension: Extensions = Field(default=(), description="`pdf`, or a list; without it, every object.")
    pattern: str = Field(default="*", description="A shell pattern that the last part of the key must fit.")
    download: bool = Field(default=True, description="False: list only, without `file`.")
    endpoint_url: str | None = Field(default=None, description="Of what speaks like S3; without it, AWS.")
    region: str | None = None


class GetFilesFromS3Input(SatelliteInput):
    """Nothing of its parent's object."""


class GetFilesFromS3(Satellite[GetFilesFromS3Config, GetFilesFromS3Input]):
    """Output, one for each object in the order of the keys: `file-path` (the key), `file-name`, `file-uri`
    (`s3://…`), `size` in bytes, `etag` and `file`, the content. Keys that end in `/` are left out. An object over the
    limit for a file comes without `file`, so that only the steps that need it fail, and only for that one."""

    name = "satellite/exospherehost/get-files-from-s3"
    aliases = ("satellite/orbit/get-files-from-s3",)
    summary = "Lists and fetches the objects of an S3 bucket"
    Config = GetFilesFromS3Config
    Input = GetFilesFromS3Input
    resources = Resources(cpu=0.25, memory_bytes=384 * 1024 * 1024)
    timeout_s = 1_800.0
    required_secrets = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY")
    typical_s = 5.0

    async def run(
        self, config: GetFilesFromS3Config, input: GetFilesFromS3Input, context: Context
    ) -> AsyncIterator[JsonObject]:
        location = Location.of(
            config.bucket, endpoint_url=config.endpoint_url, region=config.region, secrets=context.secrets
        )
        bucket = await Bucket.open(location, context)
        fetching: deque[asyncio.Task[JsonObject | None]] = deque()
        try:
            async for entry in _entries(bucket, config):
                fetching.append(asyncio.create_task(_object(bucket, entry, config, context)))
                if len(fetching) >= FETCHES_AT_ONCE and (value := await fetching.popleft()) is not None:
                    yield value
            while fetching:
                if (value := await fetching.popleft()) is not None:
                    yield value
        finally:
            for task in fetching:
                task.cancel()
            await asyncio.gather(*fetching, return_exceptions=True)


async def _entries(bucket: Bucket, config: GetFilesFromS3Config) -> AsyncIterator[Mapping[str, Any]]:
    """What the listing says of each wanted object, page by page."""
    prefixes = [config.prefix]
    if not config.recursive and config.prefix and not config.prefix.endswith("/"):
        # With a delimiter S3 gives `sec-2.pdf` for the prefix `sec`, and only names the folder `sec/`.
        prefixes.append(config.prefix + "/")
    for prefix in prefixes:
        request = {"Bucket": config.bucket, "Prefix": prefix, "MaxKeys": PAGE_MAX_OBJECTS}
        if not config.recursive:
            request["Delimiter"] = "/"
        while True:
            page = await bucket.call("list", prefix, lambda request=request: bucket.client.list_objects_v2(**request))
            for entry in page.get("Contents", ()):
                name = entry["Key"].rpartition("/")[2]
                if name and has_extension(name, config.extension) and fnmatch.fnmatchcase(name, config.pattern):
                    yield entry
            if not page.get("IsTruncated"):
                break
            request = request | {"ContinuationToken": page["NextContinuationToken"]}


async def _object(
    bucket: Bucket, entry: Mapping[str, Any], config: GetFilesFromS3Config, context: Context
) -> JsonObject | None:
    key = entry["Key"]
    name = key.rpartition("/")[2]
    value: JsonObject = {
        "file-path": key,
        "file-name": name,
        "file-uri": bucket.location.uri(key),
        "size": entry["Size"],
        "etag": entry["ETag"].strip('"'),
    }
    if not config.download:
        return value
    if entry["Size"] > BLOB_MAX_BYTES:
        context.log.warning("%s has %d bytes, more than a file may have: given without it", key, entry["Size"])
        return value
    path = context.scratch / f"s3-{content_hash(key.encode())}"
    try:
        response = await bucket.download(key, path)
        ref = await context.files.put(path, name=name, media_type=_media_type(response, name))
    except SatelliteError as error:
        if error.code != MISSING_KEY:
            raise
        context.log.info("%s is gone since it was listed", key)
        return None
    finally:
        path.unlink(missing_ok=True)  # in a thread it would be lost if this is being cancelled
    # What was fetched, if it has been replaced since it was listed.
    return value | {"size": ref.size, "etag": response["ETag"].strip('"'), "file": ref.to_json()}


def _media_type(response: Mapping[str, Any], name: str) -> str:
    said = response.get("ContentType") or ""
    if said and said != "binary/octet-stream":
        return said
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
