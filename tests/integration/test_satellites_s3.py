"""Storage satellites against a moto server, and against one that answers as S3 does when it refuses."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from moto.server import ThreadedMotoServer

from satellites.contract import PermanentError, SatelliteError
from satellites.storage import get_files_from_s3
from satellites.storage.delete_file_from_s3 import DeleteFileFromS3
from satellites.storage.get_files import GetFiles
from satellites.storage.get_files_from_s3 import GetFilesFromS3
from satellites.storage.move_file import MoveFile
from tests.unit.satellites.contexts import FolderFiles, make_context, run

KEYS = {"AWS_ACCESS_KEY": "key", "AWS_SECRET_KEY": "secret"}
FILES = {
    "sec/a.pdf": b"aaa",
    "sec/b.PDF": b"bbbb",
    "sec/notes.txt": b"n",
    "sec/2024/c.pdf": b"c",
    "sec-2.pdf": b"d",
    "other/e.pdf": b"e",
    "sec/": b"",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    for bucket in ("reports", "failed"):
        client.create_bucket(Bucket=bucket)
    for key, body in FILES.items():
        client.put_object(Bucket="reports", Key=key, Body=body)
    yield client
    for bucket in ("reports", "failed"):
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=entry["Key"])
        client.delete_bucket(Bucket=bucket)
    client.close()


def keys_in(client: Any, bucket: str) -> set[str]:
    return {entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", ())}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"prefix": "sec", "recursive": True, "extension": "pdf"},
            ["sec-2.pdf", "sec/2024/c.pdf", "sec/a.pdf", "sec/b.PDF"],
        ),
        ({"prefix": "sec", "extension": "pdf"}, ["sec-2.pdf", "sec/a.pdf", "sec/b.PDF"]),
        ({"prefix": "sec/", "extension": [".txt", ".pdf"]}, ["sec/a.pdf", "sec/b.PDF", "sec/notes.txt"]),
        ({"prefix": "sec/", "pattern": "?.pdf"}, ["sec/a.pdf"]),
        ({}, ["sec-2.pdf"]),
        ({"prefix": "nothing"}, []),
    ],
)
async def test_listing_follows_prefix_recursion_extension_and_pattern(
    tmp_path: Path, endpoint: str, s3: Any, config: dict[str, Any], expected: list[str]
) -> None:
    context = make_context(tmp_path, secrets=KEYS)
    found = await run(GetFilesFromS3, {"bucket": "reports", "endpoint-url": endpoint, **config}, {}, context)
    assert [value["file-path"] for value in found] == expected


async def test_an_object_comes_with_its_content(tmp_path: Path, endpoint: str, s3: Any) -> None:
    context = make_context(tmp_path, secrets=KEYS)
    config = {"bucket": "reports", "endpoint-url": endpoint, "prefix": "sec/a"}
    (value,) = await run(GetFilesFromS3, config, {}, context)
    assert isinstance(context.files, FolderFiles)
    assert context.files.read(value.pop("file")) == b"aaa"
    etag = value.pop("etag")
    assert len(etag) == 32 and '"' not in etag
    assert value == {"file-path": "sec/a.pdf", "file-name": "a.pdf", "file-uri": "s3://reports/sec/a.pdf", "size": 3}
    assert os.listdir(tmp_path) == ["blobs"]

    (value,) = await run(GetFilesFromS3, config | {"download": False}, {}, context)
    assert "file" not in value


async def test_many_pages_come_whole_and_in_order(
    tmp_path: Path, endpoint: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [f"many/{number:03}.txt" for number in range(25)]
    for key in wanted:
        s3.put_object(Bucket="reports", Key=key, Body=key.encode())
    monkeypatch.setattr(get_files_from_s3, "PAGE_MAX_OBJECTS", 10)
    context = make_context(tmp_path, secrets=KEYS)
    config = {"bucket": "reports", "endpoint-url": endpoint, "prefix": "many/", "recursive": True}
    found = await run(GetFilesFromS3, config, {}, context)
    assert [value["file-path"] for value in found] == wanted
    assert isinstance(context.files, FolderFiles)
    assert [context.files.read(value["file"]).decode() for value in found] == wanted


async def test_stopping_early_leaves_nothing_running(tmp_path: Path, endpoint: str, s3: Any) -> None:
    config = GetFilesFromS3.Config.model_validate({"bucket": "reports", "endpoint-url": endpoint, "recursive": True})
    given = GetFilesFromS3.Input.model_validate({})
    objects = GetFilesFromS3().run(config, given, make_context(tmp_path, secrets=KEYS))
    assert (await anext(objects))["file-path"] == "other/e.pdf"
    await objects.aclose()
    assert os.listdir(tmp_path) == ["blobs"]


async def test_a_download_that_is_stopped_in_its_midst_leaves_nothing(
    tmp_path: Path, endpoint: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread goes on until it sees that it was stopped; the file must not come into being after that."""
    begun, go_on = threading.Event(), threading.Event()
    iter_chunks = StreamingBody.iter_chunks

    def slow(body: Any, size: int) -> Any:
        begun.set()
        assert go_on.wait(30)
        return iter_chunks(body, size)

    monkeypatch.setattr(StreamingBody, "iter_chunks", slow)
    running = asyncio.create_task(run(GetFilesFromS3, {"bucket": "reports", "endpoint-url": endpoint}, {},
                                      make_context(tmp_path, secrets=KEYS)))  # fmt: skip
    await asyncio.to_thread(begun.wait, 30)
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert os.listdir(tmp_path) == ["blobs"]


async def test_a_bucket_that_does_not_exist_is_permanent(tmp_path: Path, endpoint: str, s3: Any) -> None:
    context = make_context(tmp_path, secrets=KEYS)
    for satellite, config in ((GetFilesFromS3, {}), (DeleteFileFromS3, {"file-path": "a"})):
        with pytest.raises(PermanentError, match="no bucket 'nope'") as caught:
            await run(satellite, {"bucket": "nope", "endpoint-url": endpoint, **config}, {}, context)
        assert caught.value.code == "s3-no-such-bucket"


async def test_deleting_twice_is_deleting_once(tmp_path: Path, endpoint: str, s3: Any) -> None:
    context = make_context(tmp_path, secrets=KEYS)
    config = {"bucket": "reports", "file-path": "sec/a.pdf", "endpoint-url": endpoint}
    for _ in range(2):
        assert await run(DeleteFileFromS3, config, {}, context) == [
            {"file-path": "sec/a.pdf", "file-uri": "s3://reports/sec/a.pdf"}
        ]
    assert "sec/a.pdf" not in keys_in(s3, "reports")


def move(endpoint: str, origin: str, destination: str, **more: str) -> dict[str, str]:
    def side(name: str, place: str) -> dict[str, str]:
        if place.startswith("/"):
            return {f"{name}-source": "local", f"{name}-file-path": place}
        bucket, _, key = place.partition("/")
        return {f"{name}-source": "s3", f"{name}-bucket": bucket, f"{name}-file-path": key}

    return {**side("origin", origin), **side("destination", destination), "endpoint-url": endpoint, **more}


BOTH = {f"{side}_{name}": value for side in ("ORIGIN", "DESTINATION") for name, value in KEYS.items()}


@pytest.mark.parametrize(
    "secrets", [BOTH, BOTH | {"DESTINATION_AWS_ACCESS_KEY": "another"}, KEYS], ids=["same", "other", "shared"]
)
async def test_moving_between_buckets(tmp_path: Path, endpoint: str, s3: Any, secrets: dict[str, str]) -> None:
    context = make_context(tmp_path, secrets=secrets)
    config = move(endpoint, "reports/sec/a.pdf", "failed/quarterly/a.pdf")
    moved = {
        "file-uri": "s3://failed/quarterly/a.pdf",
        "file-path": "quarterly/a.pdf",
        "file-name": "a.pdf",
        "size": 3,
    }
    assert await run(MoveFile, config, {}, context) == [moved]
    assert "sec/a.pdf" not in keys_in(s3, "reports")
    assert s3.get_object(Bucket="failed", Key="quarterly/a.pdf")["Body"].read() == b"aaa"
    # Done already: the same answer, nothing touched.
    assert await run(MoveFile, config, {}, context) == [moved]


async def test_moving_from_folder_to_bucket_and_back(tmp_path: Path, endpoint: str, s3: Any) -> None:
    context = make_context(tmp_path, secrets=KEYS)
    file = tmp_path / "in" / "x.txt"
    file.parent.mkdir()
    file.write_text("content")
    await run(MoveFile, move(endpoint, str(file), "reports/x.txt"), {}, context)
    assert not file.exists()
    target = tmp_path / "out" / "deep" / "x.txt"
    (value,) = await run(MoveFile, move(endpoint, "reports/x.txt", str(target)), {}, context)
    assert value["file-uri"] == target.as_uri()
    assert target.read_text() == "content"
    assert [path.name for path in target.parent.iterdir()] == ["x.txt"]
    assert "x.txt" not in keys_in(s3, "reports")


async def test_moving_a_file_onto_itself_keeps_it(tmp_path: Path, endpoint: str, s3: Any) -> None:
    context = make_context(tmp_path, secrets=KEYS)
    await run(MoveFile, move(endpoint, "reports/sec/a.pdf", "reports/sec/a.pdf"), {}, context)
    assert "sec/a.pdf" in keys_in(s3, "reports")
    file = tmp_path / "x.txt"
    file.write_text("content")
    await run(MoveFile, move(endpoint, str(file), str(file)), {}, context)
    assert file.exists()


async def test_a_file_that_is_nowhere_cannot_be_moved(tmp_path: Path, endpoint: str, s3: Any) -> None:
    with pytest.raises(PermanentError, match="s3://reports/gone") as caught:
        await run(MoveFile, move(endpoint, "reports/gone", "failed/gone"), {}, make_context(tmp_path, secrets=KEYS))
    assert caught.value.code == "no-such-file"
    with pytest.raises(PermanentError, match="ORIGIN_AWS_ACCESS_KEY") as caught:
        await run(MoveFile, move(endpoint, "reports/gone", "failed/gone"), {}, make_context(tmp_path))
    assert caught.value.code == "missing-secret"


async def test_private_endpoints_are_refused_unless_allowed(tmp_path: Path, endpoint: str) -> None:
    context = make_context(tmp_path, secrets=KEYS, allow_private_addresses=False)
    with pytest.raises(PermanentError) as caught:
        await run(GetFilesFromS3, {"bucket": "reports", "endpoint-url": endpoint}, {}, context)
    assert caught.value.code == "address-not-allowed"


@pytest.fixture
def refusing() -> Iterator[Any]:
    """A server that answers every request with the status and S3 error that it was told."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, code = server.says  # type: ignore[attr-defined]
            body = f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_DELETE = answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "s3_code", "code", "permanent", "message"),
    [
        (403, "AccessDenied", "s3-access-denied", True, "AWS_ACCESS_KEY"),
        (403, "SignatureDoesNotMatch", "s3-access-denied", True, "AWS_SECRET_KEY"),
        (403, "InvalidAccessKeyId", "s3-access-denied", True, "InvalidAccessKeyId"),
        (400, "ExpiredToken", "s3-access-denied", True, "ExpiredToken"),
        (400, "AuthorizationHeaderMalformed", "s3-wrong-region", True, "config.region"),
        (503, "SlowDown", "s3-throttled", False, "SlowDown"),
        (500, "InternalError", "s3-unavailable", False, "because"),
        (400, "InvalidArgument", "s3-refused", True, "because"),
    ],
)
async def test_what_s3_answers_becomes_a_clear_error(
    tmp_path: Path, refusing: Any, status: int, s3_code: str, code: str, permanent: bool, message: str
) -> None:
    refusing.says = (status, s3_code)
    endpoint = f"http://127.0.0.1:{refusing.server_port}"
    with pytest.raises(SatelliteError, match=message) as caught:
        await run(
            GetFilesFromS3, {"bucket": "reports", "endpoint-url": endpoint}, {}, make_context(tmp_path, secrets=KEYS)
        )
    assert caught.value.code == code
    assert isinstance(caught.value, PermanentError) is permanent


async def test_an_endpoint_that_does_not_answer_may_answer_later(tmp_path: Path, refusing: Any) -> None:
    endpoint = f"http://127.0.0.1:{refusing.server_port}"
    refusing.socket.close()
    with pytest.raises(SatelliteError, match="cannot be reached") as caught:
        await run(
            DeleteFileFromS3,
            {"bucket": "reports", "file-path": "a", "endpoint-url": endpoint},
            {},
            make_context(tmp_path, secrets=KEYS),
        )
    assert caught.value.code == "s3-unreachable"
    assert not isinstance(caught.value, PermanentError)


async def test_files_of_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("b.pdf", "a.PDF", "c.txt", ".hidden.pdf", "deep/d.pdf", ".git/e.pdf"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    context = make_context(tmp_path / "scratch")

    async def names(**config: Any) -> list[str]:
        found = await run(GetFiles, {"path": str(root), **config}, {}, context)
        return [Path(value["file-path"]).relative_to(root).as_posix() for value in found]

    assert await names() == ["a.PDF", "b.pdf", "c.txt"]
    assert await names(extension="pdf", recursive=True) == ["a.PDF", "b.pdf", "deep/d.pdf"]
    assert await names(pattern="?.txt") == ["c.txt"]

    (value,) = await run(GetFiles, {"path": str(root / "b.pdf")}, {}, context)
    assert isinstance(context.files, FolderFiles)
    assert context.files.read(value.pop("file")) == b"b.pdf"
    path = root / "b.pdf"
    assert value == {"file-path": str(path), "file-name": "b.pdf", "file-uri": path.as_uri(), "size": 5}

    with pytest.raises(PermanentError) as caught:
        await run(GetFiles, {"path": str(root / "nope")}, {}, context)
    assert caught.value.code == "no-such-folder"
