"""Blobs in S3 (or what speaks like it), one object each under a prefix. boto3 is blocking: it runs in threads.

It is imported by whoever has a client of it to hand in, and here only then: it is slow to import, and every command of
`orbit` imports this package.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from orbit_core.limits import BLOB_CHUNK_BYTES, MIB
from orbit_core.store.blobs.api import (
    BlobInfo,
    BlobSource,
    BlobStore,
    BlobUnreachableError,
    Digest,
    check_name,
    chunks_of,
    is_name,
    missing,
)

#: From here on an object is sent in parts, of this size.
_PART_BYTES: Final = 16 * MIB
_SPOOL_IN_MEMORY_BYTES: Final = 4 * MIB
#: Written and removed again to see whether objects are taken.
_PROBE: Final = "probe"
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})

T = TypeVar("T")


class S3Blobs(BlobStore):
    """`client`: a boto3 S3 client, with its credentials, endpoint and timeouts. The bucket must exist."""

    def __init__(self, client: Any, bucket: str, prefix: str = "orbit/blobs/") -> None:
        from boto3.s3.transfer import TransferConfig  # pyright: ignore[reportMissingTypeStubs]

        self._client = client
        # Few threads: uploads are many at once already.
        self._transfer = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=2
        )
        self._bucket = bucket
        self._prefix = prefix

    async def put(self, source: BlobSource, *, expected_sha256: str | None = None) -> BlobInfo:
        digest = Digest()
        # The name is the hash, so all of it has to have passed before the upload may begin.
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY_BYTES) as spool:
            async for chunk in chunks_of(source):
                digest.update(chunk)
                if not isinstance(source, Path):
                    await asyncio.to_thread(spool.write, chunk)
            info = digest.info(expected_sha256)
            if await self.stat(info.sha256) == info:
                return info
            if isinstance(source, Path):
                with await asyncio.to_thread(source.open, "rb") as file:
                    await self._upload(file, info.sha256)
            else:
                spool.seek(0)
                await self._upload(spool, info.sha256)
        return info

    async def open(self, sha256: str) -> AsyncGenerator[bytes, None]:
        key = self._key(sha256)
        digest = Digest()
        body = await self._call("read", sha256, lambda: self._client.get_object(Bucket=self._bucket, Key=key)["Body"])
        if body is None:
            raise missing(sha256)
        try:
            while chunk := await self._call("read", sha256, lambda: body.read(BLOB_CHUNK_BYTES)):
                digest.update(chunk)
                yield chunk
        finally:
            await asyncio.to_thread(body.close)
        digest.info(sha256)

    async def stat(self, sha256: str) -> BlobInfo | None:
        key = self._key(sha256)
        head = await self._call("look up", sha256, lambda: self._client.head_object(Bucket=self._bucket, Key=key))
        return None if head is None else BlobInfo(sha256, head["ContentLength"])

    async def delete(self, sha256: str) -> bool:
        key = self._key(sha256)
        if await self.stat(sha256) is None:
            return False
        await self._call("delete", sha256, lambda: self._client.delete_object(Bucket=self._bucket, Key=key))
        return True

    async def check(self) -> None:
        """The bucket is there and takes objects, when this returns. BlobUnreachableError."""
        where = {"Bucket": self._bucket, "Key": self._prefix + _PROBE}
        await self._call("store", _PROBE, lambda: self._client.put_object(**where, Body=b""), absent_is_error=True)
        await self._call("delete", _PROBE, lambda: self._client.delete_object(**where))

    async def list(self) -> AsyncIterator[BlobInfo]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        iterator = iter(pages)
        while (page := await self._call("list", self._prefix, lambda: next(iterator, None))) is not None:
            for found in page.get("Contents", ()):
                if is_name(name := found["Key"].removeprefix(self._prefix)):
                    yield BlobInfo(name, found["Size"])

    async def _upload(self, file: IO[bytes], sha256: str) -> None:
        key = self._key(sha256)
        await self._call(
            "store",
            sha256,
            lambda: self._client.upload_fileobj(file, self._bucket, key, Config=self._transfer),
            absent_is_error=True,
        )

    async def _call(self, what: str, sha256: str, call: Callable[[], T], *, absent_is_error: bool = False) -> T | None:
        """`call` in a thread; `None` where S3 says that there is no such object."""
        from boto3.exceptions import Boto3Error  # pyright: ignore[reportMissingTypeStubs]
        from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

        try:
            return await asyncio.to_thread(call)
        except ClientError as error:
            response: Any = error.response  # botocore has no types
            code: str = response.get("Error", {}).get("Code", "")
            if code in _ABSENT and not absent_is_error:
                return None
            raise self._refused(what, sha256, error) from error
        except (Boto3Error, BotoCoreError, OSError) as error:
            raise self._refused(what, sha256, error) from error

    def _refused(self, what: str, sha256: str, error: Exception) -> BlobUnreachableError:
        return BlobUnreachableError(
            f"S3 did not {what} blob {sha256} in bucket {self._bucket}: {error}",
            remedy="check the endpoint, the credentials and the rights on that bucket",
        )

    def _key(self, sha256: str) -> str:
        return self._prefix + check_name(sha256)
