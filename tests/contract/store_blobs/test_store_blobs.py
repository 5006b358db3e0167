"""The contract of blob stores: memory, local disk, S3 (moto's server) and peers."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from orbit_core.errors import BlobError, InvalidRequestError, LimitError
from orbit_core.ids import content_hash
from orbit_core.limits import BLOB_CHUNK_BYTES, MIB
from orbit_core.store.blobs import (
    BlobDamagedError,
    BlobInfo,
    BlobMissingError,
    BlobStore,
    LocalBlobs,
    MemoryBlobs,
    PeerBlobs,
    S3Blobs,
    read_blob,
)

BUCKET = "orbit-test"
ABSENT = content_hash(b"nobody has this")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.close()


async def nowhere(sha256: str) -> Sequence[str]:
    return ()


async def no_fetch(address: str, sha256: str) -> AsyncIterator[bytes]:
    raise AssertionError("nobody was to be asked")
    yield b""


@pytest.fixture(params=["memory", "local", "s3", "peer"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    match request.param:
        case "memory":
            return MemoryBlobs()
        case "local":
            return LocalBlobs(tmp_path / "blobs")
        case "s3":
            return S3Blobs(request.getfixturevalue("s3"), BUCKET)
        case _:
            return PeerBlobs(LocalBlobs(tmp_path / "blobs"), no_fetch, nowhere)


async def in_chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("size", [0, 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, 3 * MIB])
async def test_what_was_put_is_read_back(blobs: BlobStore, size: int) -> None:
    data = os.urandom(size)
    info = await blobs.put(data)
    assert info == BlobInfo(content_hash(data), size)
    assert await blobs.stat(info.sha256) == info
    assert await read_blob(blobs, info.sha256) == data
    assert await blobs.put(data, expected_sha256=info.sha256) == info, "putting it again changes nothing"
    assert [one async for one in blobs.list()] == [info]


async def test_bytes_chunks_and_files_have_the_same_name(blobs: BlobStore, tmp_path: Path) -> None:
    data = os.urandom(600_000)
    file = tmp_path / "input"
    file.write_bytes(data)
    infos = [
        await blobs.put(in_chunks(data[:7], b"", data[7:])),
        await blobs.put(file),
        await blobs.put(data),
    ]
    assert len(set(infos)) == 1
    assert file.read_bytes() == data, "the file that was put is left alone"
    assert await read_blob(blobs, infos[0].sha256) == data


async def test_a_large_blob_goes_in_parts(blobs: BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(MIB) * 20)
    info = await blobs.put(file)
    assert await blobs.stat(info.sha256) == BlobInfo(info.sha256, 20 * MIB)
    size = 0
    async with aclosing(blobs.open(info.sha256)) as chunks:
        async for chunk in chunks:
            assert len(chunk) <= BLOB_CHUNK_BYTES
            size += len(chunk)
    assert size == 20 * MIB


async def test_what_is_not_there(blobs: BlobStore) -> None:
    assert await blobs.stat(ABSENT) is None
    assert await blobs.delete(ABSENT) is False
    with pytest.raises(BlobMissingError):
        await read_blob(blobs, ABSENT)


async def test_deleting(blobs: BlobStore) -> None:
    kept, deleted = await blobs.put(b"kept"), await blobs.put(b"deleted")
    assert await blobs.delete(deleted.sha256) is True
    assert await blobs.stat(deleted.sha256) is None
    assert [one async for one in blobs.list()] == [kept]


async def test_bytes_that_are_not_the_expected_ones_are_not_stored(blobs: BlobStore) -> None:
    with pytest.raises(BlobDamagedError):
        await blobs.put(in_chunks(b"something ", b"else"), expected_sha256=ABSENT)
    assert [one async for one in blobs.list()] == []


async def test_a_source_that_breaks_leaves_nothing(blobs: BlobStore) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError("cut")

    with pytest.raises((ConnectionError, BlobError)):
        await blobs.put(breaks())
    assert [one async for one in blobs.list()] == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65])
async def test_a_name_that_is_no_hash_is_refused(blobs: BlobStore, name: str) -> None:
    with pytest.raises(InvalidRequestError):
        await blobs.stat(name)
    with pytest.raises(InvalidRequestError):
        await read_blob(blobs, name)
    with pytest.raises(InvalidRequestError):
        await blobs.delete(name)


async def test_reading_a_whole_blob_has_a_limit(blobs: BlobStore) -> None:
    info = await blobs.put(b"12345")
    with pytest.raises(LimitError):
        await read_blob(blobs, info.sha256, max_bytes=4)


# What is particular to each.


def file_of(root: Path, sha256: str) -> Path:
    return root / sha256[:2] / sha256[2:4] / sha256


async def test_local_a_damaged_blob_is_detected_and_given_up(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    info = await blobs.put(b"good bytes")
    file_of(tmp_path, info.sha256).write_bytes(b"evil bytes")
    with pytest.raises(BlobDamagedError):
        await read_blob(blobs, info.sha256)
    assert await blobs.stat(info.sha256) is None, "so that a good copy is fetched instead"

    await blobs.put(b"good bytes")
    file_of(tmp_path, info.sha256).write_bytes(b"evil bytes")
    with pytest.raises(BlobDamagedError):
        await blobs.path(info.sha256)
    await blobs.put(b"good bytes")
    file_of(tmp_path, info.sha256).write_bytes(b"evil bytes")
    await blobs.put(b"good bytes")
    assert await read_blob(blobs, info.sha256) == b"good bytes", "putting it again mends it"


async def test_local_files_accounts_and_leftovers(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    infos = [await blobs.put(os.urandom(1_000)) for _ in range(3)]
    await blobs.put((await blobs.path(infos[0].sha256)).read_bytes())
    assert blobs.used_bytes == 3_000
    await blobs.delete(infos[1].sha256)
    assert blobs.used_bytes == 2_000
    assert await blobs.path(infos[0].sha256) == file_of(tmp_path, infos[0].sha256)
    with pytest.raises(BlobMissingError):
        await blobs.path(ABSENT)
    (tmp_path / "incoming" / "half").write_bytes(b"what a crash left")
    again = LocalBlobs(tmp_path)
    assert again.used_bytes == 2_000
    assert list((tmp_path / "incoming").iterdir()) == []
    assert {one async for one in again.list()} == {infos[0], infos[2]}


async def test_local_a_disk_that_takes_no_more_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    blobs = LocalBlobs(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BlobError, match=r"No space left.*check the free space"):
        await blobs.put(b"x")
    monkeypatch.undo()
    assert blobs.used_bytes == 0
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_local_many_at_once_are_counted_once(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    await asyncio.gather(*(blobs.put(b"the same") for _ in range(20)))
    assert blobs.used_bytes == len(b"the same")


async def test_memory_a_damaged_blob_is_detected() -> None:
    blobs = MemoryBlobs()
    info = await blobs.put(b"good bytes")
    blobs.contents[info.sha256] = b"evil bytes"
    with pytest.raises(BlobDamagedError):
        await read_blob(blobs, info.sha256)


async def test_s3_a_damaged_blob_is_detected(s3: Any) -> None:
    blobs = S3Blobs(s3, BUCKET, "elsewhere/")
    info = await blobs.put(b"good bytes")
    s3.put_object(Bucket=BUCKET, Key=f"elsewhere/{info.sha256}", Body=b"evil bytes")
    with pytest.raises(BlobDamagedError):
        await read_blob(blobs, info.sha256)


async def test_s3_refusals_are_clear(s3: Any) -> None:
    blobs = S3Blobs(s3, "no-such-bucket")
    with pytest.raises(BlobError, match="no-such-bucket"):
        await blobs.put(b"x")
    unreachable = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(BlobError, match="check the endpoint"):
        await S3Blobs(unreachable, BUCKET).stat(ABSENT)
    unreachable.close()


class Machines:
    """Other machines: what each has, and what was asked of it."""

    def __init__(self, **held: bytes | Exception) -> None:
        self._held = held
        self.asked: list[str] = []

    async def fetch(self, address: str, sha256: str) -> AsyncIterator[bytes]:
        self.asked.append(address)
        held = self._held[address]
        if isinstance(held, Exception):
            raise held
        await asyncio.sleep(0)
        yield held[:4]
        yield held[4:]

    async def locate(self, sha256: str) -> Sequence[str]:
        return list(self._held)


async def test_peer_the_next_machine_is_asked_when_one_fails_or_lies(tmp_path: Path) -> None:
    machines = Machines(
        down=ConnectionError("refused"),
        lacks=BlobMissingError(),
        lies=b"evil bytes",
        has=b"good bytes",
        spare=b"good bytes",
    )
    local = LocalBlobs(tmp_path)
    blobs = PeerBlobs(local, machines.fetch, machines.locate)
    assert await read_blob(blobs, content_hash(b"good bytes")) == b"good bytes"
    assert machines.asked == ["down", "lacks", "lies", "has"]
    assert await read_blob(local, content_hash(b"good bytes")) == b"good bytes", "it is kept"
    assert await read_blob(blobs, content_hash(b"good bytes")) == b"good bytes"
    assert len(machines.asked) == 4


async def test_peer_a_blob_that_many_ask_for_travels_once(tmp_path: Path) -> None:
    machines = Machines(has=b"good bytes")
    blobs = PeerBlobs(LocalBlobs(tmp_path), machines.fetch, machines.locate)
    name = content_hash(b"good bytes")
    assert await asyncio.gather(*(read_blob(blobs, name) for _ in range(10))) == [b"good bytes"] * 10
    assert machines.asked == ["has"]


async def test_peer_a_damaged_copy_here_is_replaced(tmp_path: Path) -> None:
    machines = Machines(has=b"good bytes")
    blobs = PeerBlobs(LocalBlobs(tmp_path), machines.fetch, machines.locate)
    info = await blobs.put(b"good bytes")
    file_of(tmp_path, info.sha256).write_bytes(b"evil bytes")
    with pytest.raises(BlobDamagedError):
        await read_blob(blobs, info.sha256)
    assert await read_blob(blobs, info.sha256) == b"good bytes"


async def test_peer_nobody_has_it_whole(tmp_path: Path) -> None:
    machines = Machines(lies=b"evil bytes", down=OSError("no route"))
    blobs = PeerBlobs(LocalBlobs(tmp_path), machines.fetch, machines.locate)
    with pytest.raises(BlobError, match=r"lies.*down: no route"):
        await read_blob(blobs, content_hash(b"good bytes"))
