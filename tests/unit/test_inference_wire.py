"""Requests and results over a pipe: what went in comes out."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from orbit_agent.inference import frames, wire
from orbit_agent.inference.api import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    GenerateResult,
    Message,
    Sampling,
    ScoreRequest,
    ScoreResult,
)
from orbit_agent.inference.backend import Request, Result
from orbit_agent.inference.errors import InferenceError, ModelCrashedError, PromptTooLongError, error_from_code

SCHEMA: dict[str, Any] = {"properties": {"z": {"type": "string"}, "a": {"type": "null"}}, "type": "object"}


@pytest.mark.parametrize(
    "request_",
    [
        GenerateRequest("1", "m", prompt="raw"),
        GenerateRequest(
            "2",
            "m",
            messages=(Message("system", "a"), Message("user", "ü\ud800")),
            max_new_tokens=5,
            sampling=Sampling(0.5, 0.9, 40, 7),
            json_schema=SCHEMA,
            stop=("END", "\n\n"),
            context_overflow="truncate",
        ),
        EmbedRequest("3", "m", ("one", "two"), normalize=False, context_overflow="error"),
        ScoreRequest("4", "m", (("query", "document"), ("text", None))),
    ],
)
def test_requests_survive(request_: Request) -> None:
    assert wire.decode_request(json.loads(json.dumps(wire.encode_request(request_)))) == request_


@pytest.mark.parametrize(
    "result",
    [
        GenerateResult("text", "length", 3, 4, truncated=True),
        EmbedResult(((0.5, -0.25), (1.0, 0.0)), 9, truncated=False),
        EmbedResult((), 0, truncated=False),
        ScoreResult(((0.5, 0.5),), ("a", "b"), 3, truncated=False),
    ],
)
def test_results_survive(result: Result) -> None:
    assert wire.decode_result(json.loads(json.dumps(wire.encode_result(result)))) == result


def test_a_schemas_order_survives() -> None:
    request = wire.decode_request(
        json.loads(json.dumps(wire.encode_request(GenerateRequest("1", "m", prompt="x", json_schema=SCHEMA))))
    )
    assert isinstance(request, GenerateRequest)
    assert request.json_schema is not None
    assert list(request.json_schema["properties"]) == ["z", "a"]


@pytest.mark.parametrize("data", [{}, {"kind": "paint"}, {"kind": "generate"}])
def test_anything_else_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        wire.decode_request(data)
    with pytest.raises((KeyError, ValueError)):
        wire.decode_result(data)


def test_errors_cross_by_their_code() -> None:
    error = error_from_code(PromptTooLongError.code, "too long", "shorten it")
    assert isinstance(error, PromptTooLongError)
    assert str(error) == "too long (shorten it)"
    assert not error.retryable
    assert error_from_code(ModelCrashedError.code, "gone").retryable
    assert type(error_from_code("from-a-newer-version", "x")) is InferenceError


def test_frames_cross_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frames.encode({"t": "a", "text": "ü\ud800"}) + frames.encode({"t": "b"}))
        assert frames.read_blocking(theirs) == {"t": "a", "text": "ü?"}
        assert frames.read_blocking(theirs) == {"t": "b"}
        ours.close()
        assert frames.read_blocking(theirs) is None


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\x02[]", b"\0\0\0\x03{,}", b"\0\0\0\x02{}"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.close()
        with pytest.raises(frames.FrameError):
            frames.read_blocking(theirs)


def test_a_frame_that_ends_early_is_the_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\0\0\0\x09{")
        ours.close()
        assert frames.read_blocking(theirs) is None
