"""The agent's stream to whoever leads: finds the leader, attaches, carries messages both ways, and comes back.

Reconnects with exponential backoff and full jitter. What the messages mean is the session's; the link only makes
sure that each new stream begins with a hello and the results that nobody has acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import grpc

from orbit_agent.session import StaleEpochError
from orbit_core.errors import StoreError
from orbit_core.limits import GRPC_MESSAGE_MAX_BYTES
from orbit_core.pb.orbit.v1 import agents_pb2, agents_pb2_grpc
from orbit_core.store.api import Store
from orbit_core.store.election import observe
from orbit_core.store.keys import Keys

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 3.0
#: Opens a stream to a coordinator: what the agent says goes in, what it is told comes out. Ends with an `OSError` (or
#: gRPC's error) when the stream breaks; closing what it gives ends the stream.
Attach = Callable[[str, AsyncIterator[agents_pb2.AttachRequest]], AsyncGenerator[agents_pb2.AttachResponse, None]]

#: Both sides ping, so that a cut in one direction is noticed.
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
_BATCH_MAX = 500


class LeaderFinder:
    """Knows the leader's address as etcd last told it."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._changed = asyncio.Event()
        self.address: str | None = None

    async def run(self) -> None:
        """Follows the election until cancelled."""
        while True:
            try:
                async with aclosing(observe(self._store, self._keys)) as leaders:
                    async for leader in leaders:
                        self.address = leader.candidate.address if leader else None
                        self._changed.set()
            except StoreError as error:
                log.warning("cannot see who leads: %s", error)
                await asyncio.sleep(1.0)

    async def wait(self) -> str:
        """The leader's address, once there is one."""
        while self.address is None:
            self._changed.clear()
            await self._changed.wait()
        return self.address


class Link:
    """One stream after another. `send` may be called at any time; what cannot be sent now is in the next hello."""

    def __init__(
        self,
        finder: LeaderFinder,
        *,
        opening: Callable[[], list[agents_pb2.AgentEvent]],
        on_command: Callable[[agents_pb2.AgentCommand], None],
        attach: Attach | None = None,
    ) -> None:
        self._finder = finder
        self._opening = opening
        self._on_command = on_command
        self._attach = attach or attach_over_grpc
        self._outgoing: asyncio.Queue[agents_pb2.AgentEvent | None] | None = None
        #: The leader that this agent is attached to.
        self.attached_to: str | None = None

    def send(self, event: agents_pb2.AgentEvent) -> bool:
        """Queues an event for the present stream; False where there is none."""
        if self._outgoing is None:
            return False
        self._outgoing.put_nowait(event)
        return True

    async def run(self) -> None:
        """Until cancelled."""
        attempt = 0
        while True:
            address = await self._finder.wait()
            try:
                await self._stream(address)
                attempt = 0
            except StaleEpochError as error:
                log.warning("%s; looking for the leader again", error)
            except (grpc.aio.AioRpcError, OSError) as error:
                detail = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
                log.info("the stream to %s ended: %s", address, detail)
                attempt = 0 if self.attached_to else attempt + 1
            finally:
                self._outgoing, self.attached_to = None, None
            ceiling = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(attempt, 8))
            await asyncio.sleep(random.uniform(0, ceiling))

    async def _stream(self, address: str) -> None:
        outgoing: asyncio.Queue[agents_pb2.AgentEvent | None] = asyncio.Queue()
        for event in self._opening():
            outgoing.put_nowait(event)
        self._outgoing = outgoing
        try:
            async with aclosing(self._attach(address, _requests(outgoing))) as responses:
                async for response in responses:
                    if self.attached_to is None:
                        self.attached_to = address
                        log.info("attached to %s", address)
                    for command in response.commands:
                        self._on_command(command)
        finally:
            outgoing.put_nowait(None)


async def attach_over_grpc(
    address: str, requests: AsyncIterator[agents_pb2.AttachRequest]
) -> AsyncGenerator[agents_pb2.AttachResponse, None]:
    """The stream over gRPC."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        call = agents_pb2_grpc.AgentLinkServiceStub(channel).Attach(requests)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await call.wait_for_connection()


async def _requests(
    outgoing: asyncio.Queue[agents_pb2.AgentEvent | None],
) -> AsyncIterator[agents_pb2.AttachRequest]:
    """Batches what is queued into messages."""
    while True:
        batch = [await outgoing.get()]
        while not outgoing.empty() and len(batch) < _BATCH_MAX:
            batch.append(outgoing.get_nowait())
        events = [event for event in batch if event is not None]
        if events:
            yield agents_pb2.AttachRequest(events=events)
        if None in batch:
            return
