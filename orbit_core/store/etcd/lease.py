"""Keeps a lease alive from a thread of its own, with a connection of its own.

A busy event loop, or a large transfer on its connections, must not cost the leadership. The lease counts as lost
here no later than the store can believe: its TTL after the *sending* of the last renewal that was answered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

import grpc

from orbit_core.pb.etcd import rpc_pb2, rpc_pb2_grpc
from orbit_core.store.api import Lease
from orbit_core.store.etcd.config import CHANNEL_OPTIONS, EtcdConfig
from orbit_core.store.etcd.failures import Verdict, verdict

logger = logging.getLogger(__name__)

_RETRY_S = 0.2


class LeaseThread:
    """Renews at a third of the TTL. Implements `LeaseKeeper`."""

    def __init__(self, config: EtcdConfig, lease: Lease, *, granted_at_s: float, on_lost: Callable[[], None]) -> None:
        self._config = config
        self._lease = lease
        self._expires_at_s = granted_at_s + lease.ttl_s
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._lost = False
        self._token: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"lease-{lease.id:x}", daemon=True)
        self._thread.start()

    def remaining_s(self) -> float:
        return 0.0 if self._lost else max(0.0, self._expires_at_s - time.monotonic())

    async def close(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        channels: list[grpc.Channel] = []
        try:
            credentials = self._config.credentials()
            channels += [_channel(target, credentials) for target in self._config.targets]
            self._renew_until_lost(channels)
        except Exception:
            logger.exception("lease %x cannot be renewed any more", self._lease.id)
            self._lose()
        finally:
            for channel in channels:
                channel.close()

    def _renew_until_lost(self, channels: list[grpc.Channel]) -> None:
        delay_s = self._lease.ttl_s / 3
        while not self._stop.wait(delay_s):
            channel = channels[0]
            sent_at_s = time.monotonic()
            ttl_s = self._renew(channel)
            if ttl_s is None:
                channels.append(channels.pop(0))
                delay_s = min(_RETRY_S, self._lease.ttl_s / 10)
            else:
                self._expires_at_s = sent_at_s + ttl_s
                delay_s = self._lease.ttl_s / 3
            if time.monotonic() >= self._expires_at_s:
                self._lose()
                return

    def _renew(self, channel: grpc.Channel) -> float | None:
        """The TTL that was granted anew, 0 when the lease has ended, `None` when nobody answered."""
        request = rpc_pb2.LeaseKeepAliveRequest(ID=self._lease.id)
        timeout_s = self._lease.ttl_s / 5
        try:
            metadata = self._metadata(channel, timeout_s)
            call = rpc_pb2_grpc.LeaseStub(channel).LeaseKeepAlive(
                iter((request,)), timeout=timeout_s, metadata=metadata, wait_for_ready=True
            )
            try:
                response = next(call, None)
            finally:
                call.cancel()
        except grpc.RpcError as failure:
            # A failed call of the synchronous stack is its own error object; its type does not say so.
            if isinstance(failure, grpc.Call) and verdict(failure) is Verdict.LOGIN:
                self._token = None
            return None
        return None if response is None else response.TTL

    def _metadata(self, channel: grpc.Channel, timeout_s: float) -> tuple[tuple[str, str], ...]:
        if self._config.user is None:
            return ()
        if self._token is None:
            request = rpc_pb2.AuthenticateRequest(name=self._config.user, password=self._config.password or "")
            self._token = rpc_pb2_grpc.AuthStub(channel).Authenticate(request, timeout=timeout_s).token
        return (("token", self._token),)

    def _lose(self) -> None:
        self._lost = True
        if not self._stop.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_lost)


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
    return grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
