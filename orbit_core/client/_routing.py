"""Finding the coordinator that leads, and finding it again: the retry rules of every call, not what is called.

One `Router` belongs to one client: it keeps a channel to each address and remembers who led last. One `Search`
belongs to one call: it says where to go next, how long to wait before, and when to give up. The rules:

- an answer (a result, or an error that is not about who leads or whether the store can be reached) ends the search;
- a coordinator that does not lead and knows who does is followed at once;
- else the next address is tried at once, and when all have been tried, after a jittered, growing pause;
- the search ends `Patience.total_s` after its first failure since anything came; a client that nobody has ever
  answered gives up after `first_contact_s`.

Calls are therefore made more than once: every request carries a request id or is idempotent by nature.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc

from orbit_core.client.errors import from_rpc_error
from orbit_core.clock import Clock, SystemClock
from orbit_core.errors import (
    FencedError,
    MeshUnreachableError,
    NotLeaderError,
    OrbitError,
    StoreError,
    StoreFullError,
)
from orbit_core.limits import GRPC_MESSAGE_MAX_BYTES
from orbit_core.read_metadata import AS_OF_KEY, LEADER_ONLY

Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")

#: Told of each failed attempt that is not the last: the error, and the seconds since the first one.
OnWait = Callable[[OrbitError, float], None]

REMEDY: Final = "is the mesh running? `orbit up` starts one; --address or ORBIT_ADDRESS names another"
_LEARNED_MAX: Final = 8

# A coordinator that vanishes without a word is noticed by keepalive. Where nobody listens yet, the channel tries
# again within two seconds, not after gRPC's own two minutes: leaders come back.
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # despite its name: how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call looks for a leader before it is an error. A leader change takes about ten seconds."""

    total_s: float = 60.0
    #: Instead of `total_s`, as long as nobody has answered this client yet.
    first_contact_s: float = 60.0
    #: One attempt of a unary call; a stream that broke after longer than this is taken to have stood until then.
    attempt_s: float = 15.0
    pause_min_s: float = 0.1
    pause_max_s: float = 2.0


class Router:
    """Channels to the coordinators of one mesh. `source` is asked for addresses again at each search."""

    def __init__(
        self,
        source: Callable[[], Sequence[str]],
        patience: Patience,
        *,
        clock: Clock | None = None,
        jitter: random.Random | None = None,
        on_wait: OnWait | None = None,
        ask_followers: bool = False,
    ) -> None:
        self.patience = patience
        self.clock = clock or SystemClock()
        self.jitter = jitter or random.Random()
        self.on_wait = on_wait
        self.leader: str | None = None
        self.answered = False
        #: When the last answer that was not the leader's was so; None: the last answer was the leader's.
        self.as_of_ms: int | None = None
        self._metadata = () if ask_followers else (LEADER_ONLY,)
        self._source = source
        self._named: tuple[str, ...] = ()
        self._learned: list[str] = []
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def unary(
        self, method: Callable[[grpc.aio.Channel], grpc.aio.UnaryUnaryMultiCallable[Q, R]], request: Q
    ) -> R:
        """The answer of whoever leads. Raises what the leader raised, or `MeshUnreachableError`."""
        search = Search(self)
        while True:
            method_there = method(self.channel(search.target()))
            call = method_there(request, timeout=search.attempt_s(), metadata=self._metadata)
            try:
                response = await call
                told = dict(await call.trailing_metadata() or ()).get(AS_OF_KEY)
            except grpc.RpcError as error:
                await search.failed(from_rpc_error(error))
            else:
                self.as_of_ms = int(told) if told is not None else None
                search.succeeded(leads=told is None)
                return response

    async def stream(
        self,
        method: Callable[[grpc.aio.Channel], grpc.aio.UnaryStreamMultiCallable[Q, R]],
        request: Q,
        *,
        new: Callable[[R], Iterable[T]],
        restarted: Callable[[], None] = lambda: None,
        complete: Callable[[], Awaitable[bool]] | None = None,
    ) -> AsyncGenerator[T, None]:
        """What is new in the messages that the leader streams.

        After a break the stream begins anew: `restarted` is called before it does, and `new` leaves out what it has
        seen. A stream that ends is taken for an end only if `complete` says so: a coordinator that stops may end
        its streams in peace.
        """
        search = Search(self)
        while True:
            opened_s = self.clock.monotonic_s()
            call = method(self.channel(search.target()))(request)
            try:
                async for response in call:
                    for item in new(response):
                        search.succeeded()
                        yield item
                if complete is None or await complete():
                    return
                broken: OrbitError = MeshUnreachableError("the stream ended before the run had ended")
            except grpc.RpcError as error:
                broken = from_rpc_error(error)
            finally:
                call.cancel()
            if self.clock.monotonic_s() - opened_s > self.patience.attempt_s:
                search.succeeded()
            await search.failed(broken)
            restarted()

    def channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
        return self._channels[address]

    def candidates(self) -> tuple[str, ...]:
        """Every address that may lead: where the leader was last, those named, those heard of."""
        try:
            self._named = tuple(self._source())
        except MeshUnreachableError:
            if not self._named:
                raise
        leader = (self.leader,) if self.leader else ()
        return tuple(dict.fromkeys((*leader, *self._named, *self._learned)))

    def learn(self, leader: str) -> None:
        self.leader = leader
        self._learned = [leader, *(each for each in self._learned if each != leader)][:_LEARNED_MAX]

    async def close(self) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()


class Search:
    """One call's search for a coordinator that answers."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._failing_since_s: float | None = None
        self._tried: set[str] = set()
        self._target = ""
        self._rounds = 0

    def target(self) -> str:
        """The address to try now: the first candidate that has not been tried since the last pause."""
        candidates = self._router.candidates()
        self._target = next((each for each in candidates if each not in self._tried), candidates[0])
        self._tried.add(self._target)
        return self._target

    def attempt_s(self) -> float:
        return max(self._router.patience.pause_min_s, min(self._router.patience.attempt_s, self._left_s()))

    def succeeded(self, *, leads: bool = True) -> None:
        """The target answered: patience starts over, for a stream that may break later."""
        self._router.answered = True
        if leads:
            self._router.leader = self._target
        self._failing_since_s = None
        self._tried = {self._target}
        self._rounds = 0

    async def failed(self, error: OrbitError) -> None:
        """Return when the next attempt may be made; raise where there is to be none."""
        router = self._router
        if not _passes(error):
            router.answered = True
            raise error
        if self._failing_since_s is None:
            self._failing_since_s = router.clock.monotonic_s()
        if router.leader == self._target:
            router.leader = None
        if isinstance(error, NotLeaderError):
            router.answered = True
            if error.leader and error.leader != self._target:
                router.learn(error.leader)
        if self._left_s() <= 0:
            raise self._gives_up(error)
        if router.on_wait:
            router.on_wait(error, self._waited_s())
        if all(each in self._tried for each in router.candidates()):
            await self._pause()

    async def _pause(self) -> None:
        patience = self._router.patience
        ceiling_s = min(patience.pause_max_s, patience.pause_min_s * 2**self._rounds)
        self._rounds += 1
        self._tried.clear()
        await self._router.clock.sleep(min(self._router.jitter.uniform(ceiling_s / 2, ceiling_s), self._left_s()))

    def _waited_s(self) -> float:
        now_s = self._router.clock.monotonic_s()
        return 0.0 if self._failing_since_s is None else now_s - self._failing_since_s

    def _left_s(self) -> float:
        patience = self._router.patience
        limit_s = patience.total_s if self._router.answered else min(patience.total_s, patience.first_contact_s)
        return limit_s - self._waited_s()

    def _gives_up(self, error: OrbitError) -> OrbitError:
        """A store that cannot be reached keeps its own error: another coordinator would not help."""
        if isinstance(error, StoreError):
            return error
        addresses = ", ".join(self._router.candidates())
        return MeshUnreachableError(
            f"no coordinator that leads answered at {addresses} for {self._waited_s():.0f} s: {error.message}",
            remedy=REMEDY,
        )


def _passes(error: OrbitError) -> bool:
    """Whether waiting or asking elsewhere may help."""
    if isinstance(error, StoreFullError):
        return False
    return isinstance(error, (NotLeaderError, MeshUnreachableError, StoreError, FencedError))
