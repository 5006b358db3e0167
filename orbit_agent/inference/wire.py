"""Requests and results of the inference API as JSON objects, for the pipe to a model's process and to workers.

Property order is kept (a schema's order is the output's); vectors travel as little-endian float32 in base64.
Nothing is checked here beyond shape: ranges are the backend's business.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

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

Json = dict[str, Any]


def encode_request(request: Request) -> Json:
    """`{"kind": …, …}` for any request."""
    match request:
        case GenerateRequest():
            return _generate_request(request)
        case EmbedRequest():
            return {
                "kind": "embed",
                "id": request.id,
                "model": request.model,
                "texts": list(request.texts),
                "normalize": request.normalize,
                "context-overflow": request.context_overflow,
            }
        case ScoreRequest():
            return {
                "kind": "score",
                "id": request.id,
                "model": request.model,
                "pairs": [list(pair) for pair in request.pairs],
                "context-overflow": request.context_overflow,
            }


def _generate_request(request: GenerateRequest) -> Json:
    sampling = request.sampling
    messages = request.messages
    return {
        "kind": "generate",
        "id": request.id,
        "model": request.model,
        "messages": None if messages is None else [[m.role, m.content] for m in messages],
        "prompt": request.prompt,
        "max-new-tokens": request.max_new_tokens,
        "sampling": [sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed],
        "json-schema": None if request.json_schema is None else dict(request.json_schema),
        "verbatim": list(request.verbatim),
        "stop": list(request.stop),
        "context-overflow": request.context_overflow,
    }


def decode_request(data: Mapping[str, Any]) -> Request:
    """The inverse of `encode_request`; raises KeyError, TypeError or ValueError for anything else."""
    match data["kind"]:
        case "generate":
            messages = data["messages"]
            return GenerateRequest(
                id=data["id"],
                model=data["model"],
                messages=None if messages is None else tuple(Message(role, content) for role, content in messages),
                prompt=data["prompt"],
                max_new_tokens=data["max-new-tokens"],
                sampling=Sampling(*data["sampling"]),
                json_schema=data["json-schema"],
                verbatim=tuple(data["verbatim"]),
                stop=tuple(data["stop"]),
                context_overflow=data["context-overflow"],
            )
        case "embed":
            return EmbedRequest(
                id=data["id"],
                model=data["model"],
                texts=tuple(data["texts"]),
                normalize=data["normalize"],
                context_overflow=data["context-overflow"],
            )
        case "score":
            return ScoreRequest(
                id=data["id"],
                model=data["model"],
                pairs=tuple((first, second) for first, second in data["pairs"]),
                context_overflow=data["context-overflow"],
            )
        case kind:
            raise ValueError(f"no request is of kind {kind!r}")


def encode_result(result: Result) -> Json:
    """`{"kind": …, …}` for any result."""
    match result:
        case GenerateResult():
            return {
                "kind": "generate",
                "text": result.text,
                "finish": result.finish,
                "input-tokens": result.input_tokens,
                "output-tokens": result.output_tokens,
                "truncated": result.truncated,
            }
        case EmbedResult():
            return {
                "kind": "embed",
                "vectors": _pack(result.vectors),
                "input-tokens": result.input_tokens,
                "truncated": result.truncated,
            }
        case ScoreResult():
            return {
                "kind": "score",
                "scores": [list(row) for row in result.scores],
                "labels": list(result.labels),
                "input-tokens": result.input_tokens,
                "truncated": result.truncated,
            }


def decode_result(data: Mapping[str, Any]) -> Result:
    """The inverse of `encode_result`; raises KeyError, TypeError or ValueError for anything else."""
    match data["kind"]:
        case "generate":
            return GenerateResult(
                text=data["text"],
                finish=data["finish"],
                input_tokens=data["input-tokens"],
                output_tokens=data["output-tokens"],
                truncated=data["truncated"],
            )
        case "embed":
            return EmbedResult(
                vectors=_unpack(data["vectors"]),
                input_tokens=data["input-tokens"],
                truncated=data["truncated"],
            )
        case "score":
            return ScoreResult(
                scores=tuple(tuple(row) for row in data["scores"]),
                labels=tuple(data["labels"]),
                input_tokens=data["input-tokens"],
                truncated=data["truncated"],
            )
        case kind:
            raise ValueError(f"no result is of kind {kind!r}")


def _pack(vectors: tuple[tuple[float, ...], ...]) -> Json:
    array = np.array(vectors, dtype="<f4")
    return {"rows": len(vectors), "base64": base64.b64encode(array.tobytes()).decode()}


def _unpack(data: Mapping[str, Any]) -> tuple[tuple[float, ...], ...]:
    if data["rows"] == 0:
        return ()
    array = np.frombuffer(base64.b64decode(data["base64"]), dtype="<f4").reshape(data["rows"], -1)
    return tuple(tuple(row) for row in array.tolist())
