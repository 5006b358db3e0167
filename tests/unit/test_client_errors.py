"""Every error of the tree survives the wire: what a servicer raises is what a client catches."""

from __future__ import annotations

import inspect
from typing import Any

import grpc
import pytest

from orbit_core import errors
from orbit_core.client.errors import from_rpc_error, from_status
from orbit_core.errors import (
    FieldViolation,
    InternalError,
    InvalidSpecError,
    MeshUnreachableError,
    NotFoundError,
    NotLeaderError,
    OrbitError,
    PreconditionError,
    StoreError,
)
from orbit_core.pb.orbit.v1 import runs_pb2, runs_pb2_grpc
from orbit_core.rpc_errors import ErrorInterceptor, to_status

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if issubclass(member, OrbitError) and member is not NotLeaderError
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_keeps_its_message_and_remedy(kind: type[OrbitError]) -> None:
    again = from_status(to_status(kind("it broke", remedy="mend it")))
    assert type(again) is kind
    assert (again.message, again.remedy) == ("it broke", "mend it")


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("leader", ["10.0.0.7:7070", None])
def test_the_leader_is_named(leader: str | None) -> None:
    again = from_status(to_status(NotLeaderError("not me", leader=leader)))
    assert isinstance(again, NotLeaderError)
    assert again.leader == leader


def test_violations_keep_path_and_description() -> None:
    error = InvalidSpecError(
        "two problems", violations=[FieldViolation("cluster.sla", "too long"), FieldViolation("", "x")]
    )
    again = from_status(to_status(error))
    assert isinstance(again, InvalidSpecError)
    assert [(each.path, each.description) for each in again.violations] == [("cluster.sla", "too long"), ("", "x")]


def test_many_violations_are_cut_and_counted() -> None:
    error = InvalidSpecError("many", violations=[FieldViolation(f"a[{n}]", "x" * 100) for n in range(500)])
    status = to_status(error)
    again = from_status(status)
    assert isinstance(again, InvalidSpecError)
    shown = len(again.violations) - 1
    assert 10 < shown < 500
    assert again.violations[-1].description.startswith(f"and {500 - shown} more")
    assert status.ByteSize() < 4_096


class RaisingRuns(runs_pb2_grpc.RunServiceServicer):
    """Raises what it was given, from a unary and from a streaming call."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def GetRun(self, request: Any, context: Any) -> runs_pb2.GetRunResponse:
        raise self.error

    async def WatchRun(self, request: Any, context: Any) -> Any:
        yield runs_pb2.WatchRunResponse(run=runs_pb2.Run(run_id="r"))
        raise self.error


async def raised_by(error: Exception, *, stream: bool = False) -> OrbitError:
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    runs_pb2_grpc.add_RunServiceServicer_to_server(RaisingRuns(error), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = runs_pb2_grpc.RunServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                if stream:
                    async for response in stub.WatchRun(runs_pb2.WatchRunRequest()):
                        assert response.run.run_id == "r"
                else:
                    await stub.GetRun(runs_pb2.GetRunRequest())
            return from_rpc_error(caught.value)
    finally:
        await server.stop(None)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_servicer_simply_raises(stream: bool) -> None:
    error = await raised_by(NotFoundError("no run r", remedy="`orbit runs` lists them"), stream=stream)
    assert isinstance(error, NotFoundError)
    assert error.remedy == "`orbit runs` lists them"


async def test_a_bug_is_internal_and_tells_nothing_of_its_text() -> None:
    error = await raised_by(ValueError("the password is hunter2"))
    assert isinstance(error, InternalError)
    assert "hunter2" not in str(error)
    assert "ValueError" in error.message


async def test_the_longest_error_still_fits_into_trailers() -> None:
    violations = [FieldViolation("ü" * 400, "ß" * 300) for _ in range(100)]
    status = to_status(InvalidSpecError("ä" * 100_000, violations=violations, remedy="ö" * 100_000))
    percent_encoded = 3 * len(status.message.encode())
    assert percent_encoded + status.ByteSize() * 4 / 3 < 8_000
    assert isinstance(await raised_by(StoreError("ä" * 100_000)), StoreError)


async def test_nobody_listening_is_unreachable(unused_port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{unused_port}") as channel:
        stub: Any = runs_pb2_grpc.RunServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetRun(runs_pb2.GetRunRequest())
    assert isinstance(from_rpc_error(caught.value), MeshUnreachableError)


async def test_an_unknown_call_speaks_of_versions() -> None:
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = runs_pb2_grpc.RunServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetRun(runs_pb2.GetRunRequest())
    await server.stop(None)
    error = from_rpc_error(caught.value)
    assert isinstance(error, PreconditionError)
    assert error.remedy is not None and "version" in error.remedy


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
