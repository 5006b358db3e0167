"""The lines of output and error files, as OpenAI writes them.

A request that was answered stands in the output file. In the error file stand requests that an endpoint refused (a
response with a status and an `error` in its body), and those that no endpoint saw (no response, and the `error` beside
it): lines that are no requests, and requests whose batch ended before their turn.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from orbit_core.batch.lines import LineError
from orbit_core.ids import derived_id


def request_id(run_id: str, line: int) -> str:
    """The same whenever that line of that run is answered."""
    return derived_id("batch_req", run_id, line)


def answered(identifier: str, custom_id: str | None, body: Mapping[str, Any]) -> bytes:
    """A line of the output file."""
    return _line(identifier, custom_id, {"status_code": 200, "request_id": identifier, "body": body}, None)


def failed(identifier: str, custom_id: str | None, line: int, error: LineError) -> bytes:
    """A line of the error file."""
    if error["status"] is None:
        beside = {"code": error["code"], "message": error["message"], "param": error["param"], "line": line}
        return _line(identifier, custom_id, None, beside)
    kind = "invalid_request_error" if error["status"] < 500 else "server_error"
    inside = {"message": error["message"], "type": kind, "param": error["param"], "code": error["code"]}
    response = {"status_code": error["status"], "request_id": identifier, "body": {"error": inside}}
    return _line(identifier, custom_id, response, None)


def chat_body(
    identifier: str,
    model: str,
    text: str,
    finish: Literal["stop", "length"],
    *,
    input_tokens: int,
    output_tokens: int,
    created_s: int,
) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": identifier.replace("batch_req", "chatcmpl"),
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        },
    }


def embeddings_body(
    model: str, vectors: Sequence[Sequence[float]], *, as_base64: bool, input_tokens: int
) -> dict[str, Any]:
    """A list of embeddings."""
    data = [
        {"object": "embedding", "index": index, "embedding": packed(vector) if as_base64 else list(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": input_tokens, "total_tokens": input_tokens}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def packed(vector: Sequence[float]) -> str:
    """32-bit floats, little-endian, in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _line(
    identifier: str, custom_id: str | None, response: Mapping[str, Any] | None, error: Mapping[str, Any] | None
) -> bytes:
    content = {"id": identifier, "custom_id": custom_id, "response": response, "error": error}
    # A model may answer with half a character, and one answer must not spoil a file.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
