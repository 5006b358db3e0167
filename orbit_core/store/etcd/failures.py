"""What an error of etcd means: whether the call took place, and which of Orbit's errors it is.

The status code alone does not say: etcd's UNAVAILABLE covers both "not proposed" and "perhaps committed", so the
few texts that prove that nothing happened are listed here. All that is not listed counts as unknown.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol

import grpc

from orbit_core.errors import (
    ConflictError,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    OrbitError,
    PermissionError_,
    StoreError,
    StoreFullError,
)
from orbit_core.store.api import CompactedError


class RpcFailure(Protocol):
    """What the failures of synchronous and asynchronous gRPC calls have in common."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...


class Verdict(Enum):
    """What a failed call did, and so what may be done next."""

    REFUSED = "etcd said no: asking again gives the same answer"
    NOT_DONE = "certainly not carried out: another member may be asked"
    LOGIN = "the login has expired: log in, and ask again"
    UNKNOWN = "it may have been carried out"


_NOT_DONE_TEXTS: Final = (
    "failed to connect to all addresses",
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
)
_LOGIN_TEXTS: Final = ("invalid auth token", "user name is empty", "revision of auth store is old")
_REFUSED_CODES: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DATA_LOSS,
    }
)


def verdict(failure: RpcFailure) -> Verdict:
    details = failure.details() or ""
    if any(text in details for text in _LOGIN_TEXTS):
        return Verdict.LOGIN
    if any(text in details for text in _NOT_DONE_TEXTS):
        return Verdict.NOT_DONE
    if failure.code() in _REFUSED_CODES and not is_too_large_to_receive(failure):
        return Verdict.REFUSED
    return Verdict.UNKNOWN


def is_too_large_to_receive(failure: RpcFailure) -> bool:
    """The answer exceeds what this client takes in one message (the call itself has been carried out)."""
    return failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (failure.details() or "")


def error_of(call: str, failure: RpcFailure) -> OrbitError:
    """Orbit's error for a failure that was `REFUSED` (or, for a read, that every member gave)."""
    code, details = failure.code(), failure.details() or ""
    message = f"etcd refused {call}: {details}"
    match code:
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "space exceeded" in details:
            return StoreFullError(
                "etcd is at its space quota and takes no writes",
                remedy="Orbit frees space after its next snapshot; or raise etcd's --quota-backend-bytes",
            )
        case grpc.StatusCode.OUT_OF_RANGE if "compacted" in details:
            return CompactedError(None)
        case grpc.StatusCode.INVALID_ARGUMENT if "too large" in details or "too many operations" in details:
            return LimitError(message)
        case grpc.StatusCode.INVALID_ARGUMENT if "authentication failed" in details:
            return PermissionError_(message, remedy="check the user and the password for etcd")
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.OUT_OF_RANGE:
            return InvalidRequestError(message)
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(message)
        case grpc.StatusCode.FAILED_PRECONDITION if "already exists" in details:
            return ConflictError(message)
        case grpc.StatusCode.PERMISSION_DENIED | grpc.StatusCode.UNAUTHENTICATED:
            return PermissionError_(message)
        case _:
            return StoreError(f"etcd failed {call}: {code.name}: {details}")
