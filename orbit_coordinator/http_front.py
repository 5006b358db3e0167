"""HTTP for those who cannot speak gRPC: a POST to any path is a webhook. Every coordinator takes them; the leader acts.

One request a connection, limits on everything, h11 for the protocol. What a webhook means is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import h11

from orbit_core.errors import InvalidRequestError, OrbitError, PreconditionError
from orbit_core.limits import KIB, WEBHOOK_MAX_BYTES
from orbit_core.pb.orbit.v1 import triggers_pb2

log = logging.getLogger(__name__)

HEADERS_MAX_BYTES: Final = 16 * KIB
CONNECTIONS_MAX: Final = 64
REQUEST_S: Final = 20.0
_READ_BYTES: Final = 64 * KIB
_RETRY_AFTER_S: Final = 2
_LINGER_S: Final = 2.0
_LINGER_MAX_BYTES: Final = 16 * WEBHOOK_MAX_BYTES

#: Names that senders use for the signature of a body, and for one delivery; the first that is there counts.
_SIGNATURES: Final = (b"x-orbit-signature", b"x-hub-signature-256")
_DELIVERIES: Final = (b"idempotency-key", b"x-github-delivery", b"webhook-id", b"x-request-id")

_STATUSES: Final[dict[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 401,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 503,
    "UNAVAILABLE": 503,
    "ABORTED": 503,
}

Deliver = Callable[[triggers_pb2.ReceiveWebhookRequest], Awaitable[triggers_pb2.ReceiveWebhookResponse]]


class _Refused(Exception):
    """The request is answered with a status of HTTP's own, before anybody looks at what it says."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


class HttpFront:
    """Listens from `start` to `close`."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listen: str) -> str:
        """Where it listens; port 0: any free one. InvalidRequestError, PreconditionError."""
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise InvalidRequestError(f"{listen!r} is not where one can listen", remedy="write it like 127.0.0.1:8080")
        try:
            self._server = await asyncio.start_server(self._connected, host.strip("[]"), int(port))
        except OSError as error:
            raise PreconditionError(
                f"webhooks cannot be taken at {listen}: {error.strerror or error}", remedy="name a port that is free"
            ) from error
        return f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with asyncio.timeout(REQUEST_S):
                await self._converse(reader, writer, busy=len(self._connections) > CONNECTIONS_MAX)
        except (TimeoutError, OSError):
            pass  # whoever is that slow, or gone, is not there for an answer
        except Exception:
            log.exception("a request over HTTP failed")
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, busy: bool) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADERS_MAX_BYTES)
        try:
            if busy:
                raise _Refused(503, "too many requests at once")
            status, document = await self._answer(*await _read(connection, reader, writer))
        except h11.RemoteProtocolError as error:
            status, document = error.error_status_hint, {"error": "this is not a request that HTTP allows"}
        except _Refused as refused:
            status, document = refused.status, {"error": refused.message}
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = json.dumps(document).encode() + b"\n"
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
        if status == 503:
            headers.append(("Retry-After", str(_RETRY_AFTER_S)))
        if status == 405:
            headers.append(("Allow", "POST"))
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        await _linger(reader, writer)

    async def _answer(self, request: h11.Request, body: bytes) -> tuple[int, dict[str, Any]]:
        headers = dict(request.headers)
        received = triggers_pb2.ReceiveWebhookRequest(
            path=request.target.decode("ascii", "replace").partition("?")[0],
            body=body,
            signature=_first(headers, _SIGNATURES),
            delivery_id=_first(headers, _DELIVERIES),
        )
        try:
            response = await self._deliver(received)
        except OrbitError as error:
            return _STATUSES.get(error.status, 500), {"error": str(error), "code": error.code}
        return 202, {"run-ids": list(response.run_ids)}


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes what the other side still sends: closing on unread bytes would destroy the answer on its way."""
    writer.write_eof()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            left = _LINGER_MAX_BYTES
            while left > 0 and (data := await reader.read(_READ_BYTES)):
                left -= len(data)


async def _read(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[h11.Request, bytes]:
    """A whole POST. Raises `_Refused`, and h11's error for what is not HTTP."""
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(connection.send(go_on) or b"")
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
            if event.method != b"POST":
                raise _Refused(405, "only POST is answered here")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > WEBHOOK_MAX_BYTES:
                raise _Refused(413, f"a body may have {WEBHOOK_MAX_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            return request, bytes(body)
        else:
            raise ConnectionResetError("the connection ended before the request did")


def _first(headers: dict[bytes, bytes], names: tuple[bytes, ...]) -> str:
    return next((headers[name].decode("ascii", "replace")[:200] for name in names if name in headers), "")
