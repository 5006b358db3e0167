"""HTTP as strangers speak it: what is passed on, what is refused, and that nobody holds the door open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from orbit_coordinator import http_front
from orbit_coordinator.http_front import HttpFront
from orbit_core.errors import (
    InvalidRequestError,
    NotFoundError,
    NotLeaderError,
    OrbitError,
    PermissionError_,
    PreconditionError,
)
from orbit_core.limits import WEBHOOK_MAX_BYTES
from orbit_core.pb.orbit.v1 import triggers_pb2


class Leader:
    """Takes what is delivered, or raises what it is told to."""

    def __init__(self) -> None:
        self.received: list[triggers_pb2.ReceiveWebhookRequest] = []
        self.error: Exception | None = None

    async def deliver(self, request: triggers_pb2.ReceiveWebhookRequest) -> triggers_pb2.ReceiveWebhookResponse:
        self.received.append(request)
        if self.error is not None:
            raise self.error
        return triggers_pb2.ReceiveWebhookResponse(run_ids=["run-1", "run-2"])


@pytest.fixture
def leader() -> Leader:
    return Leader()


@pytest.fixture
async def address(leader: Leader) -> AsyncIterator[str]:
    front = HttpFront(leader.deliver)
    yield await front.start("127.0.0.1:0")
    await front.close()


@pytest.fixture
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        yield client


async def raw(address: str, sent: bytes) -> bytes:
    """All that is answered to these bytes, until the other side closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_a_post_is_passed_on_whole(http: httpx.AsyncClient, leader: Leader):
    headers = {"X-Hub-Signature-256": "sha256=ab", "X-GitHub-Delivery": "d1"}
    answer = await http.post("/reports/new?x=1", content=b'{"day": 1}', headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"run-ids": ["run-1", "run-2"]})
    (request,) = leader.received
    assert (request.path, request.body) == ("/reports/new", b'{"day": 1}')
    assert (request.signature, request.delivery_id) == ("sha256=ab", "d1")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("nothing waits"), 404),
        (PermissionError_("not signed"), 401),
        (PreconditionError("disabled"), 409),
        (NotLeaderError(), 503),
        (OrbitError("odd"), 500),
    ],
)
async def test_errors_have_a_status(http: httpx.AsyncClient, leader: Leader, error: OrbitError, status: int):
    leader.error = error
    answer = await http.post("/hook")
    assert (answer.status_code, answer.json()["code"]) == (status, error.code)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_other_methods_and_large_bodies_are_refused_before_anybody_looks(http: httpx.AsyncClient, leader: Leader):
    answer = await http.get("/hook")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await http.post("/hook", content=b"x" * (WEBHOOK_MAX_BYTES + 1))).status_code == 413
    assert leader.received == []
    assert (await http.post("/hook", content=b"x" * WEBHOOK_MAX_BYTES)).status_code == 202


async def test_who_asks_before_sending_is_told_to_go_on(address: str, leader: Leader):
    head = b"POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    answer = await raw(address, head + b"{}")
    assert b" 202 " in answer
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head)
    assert b"100" in await asyncio.wait_for(reader.readline(), 10)
    writer.write(b"{}")
    assert b" 202 " in await asyncio.wait_for(reader.read(), 10)
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00 not http\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: no\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000,
        b"POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
    ],
)
async def test_what_is_not_http_is_4xx_and_passed_to_nobody(address: str, leader: Leader, sent: bytes):
    answer = await raw(address, sent)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert leader.received == []


async def test_who_says_nothing_is_hung_up_on(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_front, "REQUEST_S", 0.05)
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_only_so_many_at_once(address: str, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_front, "CONNECTIONS_MAX", 0)
    answer = await http.post("/hook", content=b"{}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_place_where_nobody_can_listen(address: str, leader: Leader):
    with pytest.raises(PreconditionError, match="cannot be taken at"):
        await HttpFront(leader.deliver).start(address)
    for listen in ("8080", ":8080", "127.0.0.1:http"):
        with pytest.raises(InvalidRequestError):
            await HttpFront(leader.deliver).start(listen)
