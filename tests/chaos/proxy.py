"""A proxy before one coordinator: everything passes, and some words between it and its agents pass twice.

Words on attempts only, and as transports repeat them: at once, or a little later in the same stream. It forwards any
call as bytes, since a unary call is on the wire a stream of one message.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc

from orbit_core.limits import GRPC_MESSAGE_MAX_BYTES
from orbit_core.pb.orbit.v1 import agents_pb2

_ATTACH = "/orbit.v1.AgentLinkService/Attach"
_SHARE = 0.2  # of messages that hold such words
_LATER_S = 0.3
_OPTIONS = [
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 500),
    # As the parts of the mesh do: who is cut off behind the proxy has to be noticed as if there were none.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
]


class RepeatingProxy(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """`target`: the coordinator's own address. `repeated` counts words that were said twice."""

    def __init__(self, target: str, rng: random.Random, repeated: Counter[str]) -> None:
        self.address = ""
        self._rng = rng
        self._repeated = repeated
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))

    async def start(self, host: str) -> None:
        self.address = f"{host}:{self._server.add_insecure_port(f'{host}:0')}"
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(grace=0)
        await self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method: Any = handler_call_details.method
        return grpc.stream_stream_rpc_method_handler(partial(self._forward, method))  # type: ignore[arg-type]

    async def _forward(self, method: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        attach = method == _ATTACH
        call: Any = self._channel.stream_stream(method)(
            self._said_twice(requests) if attach else requests,
            metadata=context.invocation_metadata(),
            timeout=context.time_remaining(),
        )
        try:
            async for response in call:
                yield response
                if attach and (again := self._again(agents_pb2.AttachResponse, response)):
                    yield again
            context.set_trailing_metadata(tuple(await call.trailing_metadata() or ()))
        except grpc.aio.AioRpcError as error:
            trailing = tuple(error.trailing_metadata() or ())
            await context.abort(error.code(), error.details() or "", trailing)
        finally:
            call.cancel()

    async def _said_twice(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The agent's words; what is repeated late comes before whatever it says after that."""
        due: list[tuple[float, bytes]] = []
        async for request in requests:
            now_s = asyncio.get_running_loop().time()
            for at_s, late in list(due):
                if at_s <= now_s:
                    due.remove((at_s, late))
                    yield late
            yield request
            again = self._again(agents_pb2.AttachRequest, request)
            if again and self._rng.random() < 0.5:
                yield again
            elif again:
                due.append((now_s + _LATER_S, again))

    def _again(self, kind: Any, data: bytes) -> bytes:
        """The message once more with its words on attempts alone; empty: nothing is repeated."""
        if self._rng.random() >= _SHARE:
            return b""
        message = kind.FromString(data)
        if isinstance(message, agents_pb2.AttachRequest):
            events = [each for each in message.events if each.WhichOneof("kind") in ("started", "result", "returned")]
            self._repeated.update(f"agent-{each.WhichOneof('kind')}" for each in events)
            return agents_pb2.AttachRequest(events=events).SerializeToString() if events else b""
        commands = [each for each in message.commands if each.WhichOneof("kind") in ("assign", "stop", "ack")]
        self._repeated.update(f"coordinator-{each.WhichOneof('kind')}" for each in commands)
        return agents_pb2.AttachResponse(commands=commands).SerializeToString() if commands else b""
