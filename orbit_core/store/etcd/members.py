"""The members of an etcd cluster as one place to call: connections, failover, login, deadlines.

It decides what may be asked again. A read may, of any member, until its deadline. A call that changes something
may only where it was certainly not carried out; otherwise it ends as `OutcomeUnknownError`, and what to do about
that is the caller's to know. Nothing here knows what a call means.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import grpc.aio

from orbit_core.errors import OutcomeUnknownError, StoreError
from orbit_core.pb.etcd import rpc_pb2, rpc_pb2_grpc
from orbit_core.store.backoff import backoff_s
from orbit_core.store.etcd.config import CHANNEL_OPTIONS, EtcdConfig
from orbit_core.store.etcd.failures import Verdict, error_of, verdict

Metadata = tuple[tuple[str, str], ...]
Reply = TypeVar("Reply")


class Member:
    """One etcd server: its channel and its services."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.target = target
        self._channel = (
            grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
        )
        self.kv = rpc_pb2_grpc.KVStub(self._channel)
        self.lease = rpc_pb2_grpc.LeaseStub(self._channel)
        self.watch = rpc_pb2_grpc.WatchStub(self._channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(self._channel)
        self.auth = rpc_pb2_grpc.AuthStub(self._channel)

    async def connected(self, timeout_s: float, *, patient: bool) -> bool:
        """Whether there is a connection. Waits for one; unless `patient`, only until an attempt has failed."""
        try:
            async with asyncio.timeout(timeout_s):
                state = self._channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and not patient:
                        return False
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        await self._channel.close()


class Members:
    """Calls go to one member for as long as it answers, then to the next."""

    def __init__(self, config: EtcdConfig) -> None:
        self._config = config
        credentials = config.credentials()
        self.all = tuple(Member(target, credentials) for target in config.targets)
        self._current = random.randrange(len(self.all))
        self._token: str | None = None

    @property
    def current(self) -> Member:
        return self.all[self._current]

    def go_on_from(self, member: Member) -> None:
        """Prefer another member than this one from now on (if it is still the preferred one)."""
        if self.current is member:
            self._current = (self._current + 1) % len(self.all)

    async def read(
        self, name: str, call: Callable[[Member, float, Metadata], Awaitable[Reply]], timeout_s: float
    ) -> Reply:
        """A call without effect: asked of one member after the other until the deadline."""
        return await self._call(name, call, timeout_s, self._config.read_attempt_timeout_s, mutating=False)

    async def write(
        self, name: str, call: Callable[[Member, float, Metadata], Awaitable[Reply]], timeout_s: float
    ) -> Reply:
        """A call with an effect: sent once more only where it certainly had none."""
        return await self._call(name, call, timeout_s, timeout_s, mutating=True)

    async def _call(
        self,
        name: str,
        call: Callable[[Member, float, Metadata], Awaitable[Reply]],
        timeout_s: float,
        attempt_timeout_s: float,
        *,
        mutating: bool,
    ) -> Reply:
        deadline_s = time.monotonic() + timeout_s
        attempts = 0
        reason = "no connection"
        while (left_s := deadline_s - time.monotonic()) > 0:
            attempts += 1
            if attempts > 1:
                await asyncio.sleep(min(left_s, backoff_s(attempts - 1)))
            member = self.current
            attempt_s = min(left_s, attempt_timeout_s)
            if not await member.connected(attempt_s, patient=len(self.all) == 1):
                self.go_on_from(member)
                continue
            try:
                metadata = await self.metadata(member, attempt_s)
                return await call(member, min(attempt_s, deadline_s - time.monotonic()), metadata)
            except grpc.aio.AioRpcError as failure:
                reason = f"{failure.code().name}: {failure.details()}"
                self._handle(name, failure, member, mutating=mutating)
        raise StoreError(
            f"etcd did not answer {name} within {timeout_s:g} s ({reason})",
            remedy=f"check that etcd runs and is reachable at {', '.join(self._config.targets)}",
        )

    def _handle(self, name: str, failure: grpc.aio.AioRpcError, member: Member, *, mutating: bool) -> None:
        """Raise, unless the call may be made again."""
        match verdict(failure):
            case Verdict.REFUSED:
                raise error_of(name, failure) from failure
            case Verdict.LOGIN:
                if self._config.user is None:
                    raise error_of(name, failure) from failure
                self._token = None
            case Verdict.NOT_DONE:
                self.go_on_from(member)
            case Verdict.UNKNOWN:
                self.go_on_from(member)
                if mutating:
                    raise OutcomeUnknownError(
                        f"etcd gave no answer to {name}: {failure.code().name}: {failure.details()};"
                        " it may have been carried out, or may be yet"
                    ) from failure

    async def metadata(self, member: Member, timeout_s: float) -> Metadata:
        """What goes with every call: the login's token, where there is a login."""
        if self._config.user is None:
            return ()
        if self._token is None:
            request = rpc_pb2.AuthenticateRequest(name=self._config.user, password=self._config.password or "")
            self._token = (await member.auth.Authenticate(request, timeout=timeout_s)).token
        return (("token", self._token),)

    def forget_login(self) -> None:
        self._token = None

    async def close(self) -> None:
        await asyncio.gather(*(member.close() for member in self.all))
