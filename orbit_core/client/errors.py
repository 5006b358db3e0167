"""Errors on their way into a gRPC client: what a call raised becomes the `OrbitError` that the server meant.

The counterpart of `orbit_core.rpc_errors`, whose docstring has the contract. A failure of the transport itself
(nobody listens, the connection broke, the deadline passed) carries no `ErrorInfo` and is read from its gRPC code.
Whether a call is tried again is not decided here.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from grpc_status import rpc_status

from orbit_core import errors
from orbit_core.errors import (
    BlobError,
    ConflictError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    LimitError,
    MeshUnreachableError,
    NotFoundError,
    NotLeaderError,
    OrbitError,
    PermissionError_,
    PreconditionError,
    StoreError,
)
from orbit_core.rpc_errors import ERROR_DOMAIN

_BY_CODE: Final[dict[str, type[OrbitError]]] = {
    member.code: member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, OrbitError)
}

#: For a reason that this client does not know (a newer server), and for failures of the transport.
_BY_STATUS: Final[dict[str, type[OrbitError]]] = {
    "INVALID_ARGUMENT": InvalidRequestError,
    "OUT_OF_RANGE": InvalidRequestError,
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "FAILED_PRECONDITION": PreconditionError,
    "UNIMPLEMENTED": PreconditionError,
    "RESOURCE_EXHAUSTED": LimitError,
    "PERMISSION_DENIED": PermissionError_,
    "UNAUTHENTICATED": PermissionError_,
    "ABORTED": StoreError,
    "UNAVAILABLE": MeshUnreachableError,
    "DEADLINE_EXCEEDED": MeshUnreachableError,
    "CANCELLED": MeshUnreachableError,  # by the server, as it stops; our own cancelling is never an RpcError
    "DATA_LOSS": BlobError,
    "INTERNAL": InternalError,
}


def from_rpc_error(error: grpc.RpcError) -> OrbitError:
    """The error that `error`, raised by a call of either `grpc` or `grpc.aio`, stands for."""
    if not isinstance(error, (grpc.Call, grpc.aio.AioRpcError)):
        return MeshUnreachableError(f"the call failed: {error}")
    status = _trailing_status(error)
    if status is not None:
        return from_status(status)
    name = error.code().name
    message = error.details() or name.lower().replace("_", " ")
    if name == "UNAVAILABLE":
        # gRPC tells how it came to know; the last part is what happened: `Connection refused`.
        message = message.rpartition(": ")[2]
    if name == "UNIMPLEMENTED":
        return PreconditionError(
            f"the coordinator does not know this call: {message}",
            remedy="the client and the mesh are of different versions; `orbit version` shows both",
        )
    return _BY_STATUS.get(name, OrbitError)(message)


def from_status(status: status_pb2.Status) -> OrbitError:
    """The error that `orbit_core.rpc_errors.to_status` was given."""
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)  # Unpack leaves a message alone when the detail is of another type
        detail.Unpack(request)
    found = _BY_CODE.get(info.reason) if info.domain == ERROR_DOMAIN else None
    if found is None:
        found = _BY_STATUS.get(code_pb2.Code.Name(status.code), OrbitError)
    return _build(found, status.message, info, request)


def _build(
    found: type[OrbitError],
    message: str,
    info: error_details_pb2.ErrorInfo,
    request: error_details_pb2.BadRequest,
) -> OrbitError:
    remedy = info.metadata.get("remedy") or None
    if issubclass(found, NotLeaderError):
        return found(message, leader=info.metadata.get("leader") or None)
    if issubclass(found, InvalidRequestError):
        violations = [FieldViolation(entry.field, entry.description) for entry in request.field_violations]
        return found(message, violations=violations, remedy=remedy)
    return found(message, remedy=remedy)


def _trailing_status(error: grpc.Call | grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The status in the trailers, or None where there is none that makes sense."""
    try:
        found: Any = rpc_status
        return found.from_call(error)  # it has no types, and an AioRpcError quacks like a Call
    except (ValueError, DecodeError):
        return None
