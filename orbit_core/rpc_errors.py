"""Errors on their way out of a gRPC server: an `OrbitError` becomes a `google.rpc.Status` in the trailers.

What the status holds is the contract with `orbit_core.client.errors`, which turns it back:

- the gRPC code is the class's `status`, the message its message (cut to `MESSAGE_MAX_BYTES`);
- `ErrorInfo`: `reason` is the class's `code`, `domain` is `orbit`, `metadata` has `remedy` and, where this
  coordinator does not lead and knows who does, `leader` (`host:port`);
- `BadRequest`: one field violation for each problem of a request or a cluster file.

Servers either call `abort`, or put an `ErrorInterceptor` in front and simply raise.
Only this direction lives here; retrying, redirecting and reading belong to the client.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from grpc_status import rpc_status

from orbit_core.errors import FieldViolation, InternalError, InvalidRequestError, NotLeaderError, OrbitError

ERROR_DOMAIN: Final = "orbit"

# Clients refuse trailers over 8 KiB unless told otherwise. The message travels twice, once percent-encoded (three
# bytes for one at worst), the status in base64 (four for three): together these stay below.
MESSAGE_MAX_BYTES: Final = 1_000
REMEDY_MAX_BYTES: Final = 500
VIOLATIONS_MAX_BYTES: Final = 2_000

log = logging.getLogger(__name__)


def to_status(error: OrbitError) -> status_pb2.Status:
    """The status that says all of `error`: code, message, reason, remedy, leader, violations."""
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=ERROR_DOMAIN)
    if error.remedy:
        info.metadata["remedy"] = _cut(error.remedy, REMEDY_MAX_BYTES)
    if isinstance(error, NotLeaderError) and error.leader:
        info.metadata["leader"] = error.leader
    details: list[Message] = [info]
    if isinstance(error, InvalidRequestError) and error.violations:
        details.append(_bad_request(error.violations))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.status),
        message=_cut(error.message, MESSAGE_MAX_BYTES),
        details=[_packed(detail) for detail in details],
    )


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: OrbitError) -> NoReturn:
    """End the call with `error`. Never returns."""
    untyped: Any = rpc_status
    await context.abort_with_status(untyped.to_status(to_status(error)))
    raise AssertionError("abort_with_status returned")


def as_orbit_error(error: Exception) -> OrbitError:
    """`error` itself, or an `InternalError` that tells the caller nothing of what is inside: that is for the log."""
    if isinstance(error, OrbitError):
        return error
    log.error("a call ended in an error that is a bug", exc_info=error)
    return InternalError(
        f"an unexpected {type(error).__name__}: this is a bug of Orbit's",
        remedy="the coordinator's log has the whole story",
    )


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Lets servicers raise: whatever leaves a handler becomes a status of Orbit's."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        if handler is None:  # an unknown method: the server says UNIMPLEMENTED
            return None
        if handler.response_streaming:
            guarded = _guarded_stream
            kind = "stream_stream" if handler.request_streaming else "unary_stream"
        else:
            guarded = _guarded_unary
            kind = "stream_unary" if handler.request_streaming else "unary_unary"
        make: Any = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            guarded(getattr(handler, kind)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _guarded_unary(behavior: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await behavior(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await abort(context, as_orbit_error(error))

    return call


def _guarded_stream(behavior: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        try:
            async for response in behavior(request, context):
                yield response
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await abort(context, as_orbit_error(error))

    return call


def _bad_request(violations: tuple[FieldViolation, ...]) -> error_details_pb2.BadRequest:
    """As many violations as fit into trailers that every client accepts; the last line says what is left out."""
    request = error_details_pb2.BadRequest()
    for position, violation in enumerate(violations):
        entry = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.path, MESSAGE_MAX_BYTES // 2),
            description=_cut(violation.description, MESSAGE_MAX_BYTES),
        )
        if request.ByteSize() + entry.ByteSize() > VIOLATIONS_MAX_BYTES:
            left = len(violations) - position
            request.field_violations.add(description=f"and {left} more: `orbit validate FILE` shows all of them")
            break
        request.field_violations.append(entry)
    return request


def _cut(text: str, limit_bytes: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= limit_bytes else encoded[: limit_bytes - 3].decode(errors="ignore") + "…"


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
