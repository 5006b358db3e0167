"""What the agent does for one attempt while it runs: takes its objects, logs and token counts, answers its requests.

Knows frames and the agent's services; processes, signals and memory are not its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from orbit_agent.inference.errors import InferenceError
from orbit_agent.workers import frames
from orbit_agent.workers.api import Call, LogLevel, LogRecord, OnLog, OnObject, Outcome, Redact
from orbit_core.errors import InvalidRequestError, OrbitError
from orbit_core.limits import ERROR_MESSAGE_MAX_CHARS, LOG_LINE_MAX_CHARS
from orbit_core.security.redact import Redactor
from satellites.contract import FileRef, Files, GenerateCall, Models, PermanentError, SatelliteError

#: What one attempt may log; the rest is counted and dropped.
LOG_RECORDS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Services:
    """What the agent offers to the attempts that it runs."""

    models: Models
    files: Files
    on_log: OnLog
    redact: Redact | None


class Serving:
    """One attempt's conversation."""

    def __init__(self, call: Call, scratch: Path, services: Services, writer: asyncio.StreamWriter) -> None:
        self.call = call
        self.peak_memory_bytes = 0
        self._scratch = scratch
        self._services = services
        self._writer = writer
        self._redactor = Redactor(call.hidden_values())
        self._started_s = self._ended_s = time.monotonic()
        self._input_tokens = 0
        self._output_tokens = 0
        self._log_records = 0
        self._requests: set[asyncio.Task[None]] = set()

    def opening(self) -> bytes:
        """The frame that begins the attempt. Raises what `frames.encode` raises."""
        return frames.encode(_call_frame(self.call, self._scratch))

    async def until_result(
        self, opening: bytes, reader: asyncio.StreamReader, on_object: OnObject
    ) -> frames.Frame | None:
        """The `result` frame, or None when the process has ended without one. Raises `FrameError`."""
        try:
            await self._send(opening)
            return await self._converse(reader, on_object)
        finally:
            self._ended_s = time.monotonic()

    async def _converse(self, reader: asyncio.StreamReader, on_object: OnObject) -> frames.Frame | None:
        while (frame := await frames.read_async(reader)) is not None:
            match frame["t"]:
                case "object":
                    await on_object(frame["value"])
                    await self._send(frames.encode({"t": "ack", "size": frame["size"]}))
                case "log":
                    self._log(_level(frame["level"]), frame["source"], frame["message"], frame["time-ms"])
                case "usage":
                    self._input_tokens += frame["input-tokens"]
                    self._output_tokens += frame["output-tokens"]
                case "request":
                    task = asyncio.create_task(self._answer(frame))
                    self._requests.add(task)
                    task.add_done_callback(self._requests.discard)
                case "result":
                    return frame
                case unknown:
                    raise frames.FrameError(f"a frame of type {unknown!r} was not expected")
        return None

    def output(self, source: str, line: str) -> None:
        """A line that the process wrote to stdout or stderr."""
        self._log("warning" if source == "stderr" else "info", source, line, _now_ms())

    def ended(self, result: frames.Frame) -> Outcome:
        self.peak_memory_bytes = max(self.peak_memory_bytes, result["peak-memory-bytes"])
        if result["status"] == "succeeded":
            return self._outcome("succeeded", "", "", retryable=False)
        return self._outcome("failed", result["code"], result["message"], retryable=result["retryable"])

    def died(self, code: str, message: str, retryable: bool) -> Outcome:
        return self._outcome("failed", code, message, retryable=retryable)

    async def close(self) -> None:
        """Ends the model calls and file transfers that nobody waits for any more."""
        for task in list(self._requests):
            task.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _outcome(self, status: Literal["succeeded", "failed"], code: str, message: str, *, retryable: bool) -> Outcome:
        if self._log_records > LOG_RECORDS_MAX:
            dropped = self._log_records - LOG_RECORDS_MAX
            self._emit("warning", "orbit", f"{dropped} more log records were dropped", _now_ms())
        return Outcome(
            status=status,
            code=code,
            message=self._redacted(message)[:ERROR_MESSAGE_MAX_CHARS],
            retryable=retryable,
            duration_ms=round((self._ended_s - self._started_s) * 1_000),
            peak_memory_bytes=self.peak_memory_bytes,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
        )

    def _log(self, level: LogLevel, source: str, message: str, time_ms: int) -> None:
        self._log_records += 1
        if self._log_records <= LOG_RECORDS_MAX:
            self._emit(level, source, message, time_ms)

    def _emit(self, level: LogLevel, source: str, message: str, time_ms: int) -> None:
        text = self._redacted(message)[:LOG_LINE_MAX_CHARS]
        self._services.on_log(self.call, LogRecord(time_ms, level, source, text))

    def _redacted(self, text: str) -> str:
        text = self._redactor.text(text)
        return self._services.redact(text) if self._services.redact is not None else text

    async def _send(self, data: bytes) -> None:
        # A process that died between two frames is noticed by whoever reads.
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def _answer(self, request: frames.Frame) -> None:
        reply: frames.Frame = {"t": "reply", "id": request["id"]}
        try:
            # Encoded here: an answer that JSON cannot hold (a model that gives NaN) is an error as well.
            data = frames.encode(reply | {"value": await self._perform(request)})
        except Exception as error:
            data = frames.encode(reply | {"error": _error_json(error)})
        await self._send(data)

    async def _perform(self, request: frames.Frame) -> Any:
        match request["op"]:
            case "generate":
                return asdict(await self._services.models.generate(GenerateCall(**request["call"])))
            case "embed":
                embedded = await self._services.models.embed(
                    request["model"],
                    request["texts"],
                    normalize=request["normalize"],
                    context_overflow=request["overflow"],
                )
                return {
                    "vectors": embedded,
                    "input-tokens": embedded.input_tokens,
                    "truncated": embedded.truncated,
                }
            case "score":
                pairs = [(first, second) for first, second in request["pairs"]]
                return asdict(
                    await self._services.models.score(request["model"], pairs, context_overflow=request["overflow"])
                )
            case "put":
                ref = await self._services.files.put(
                    Path(request["path"]), name=request["name"], media_type=request["media-type"]
                )
                return ref.to_json()
            case "path":
                ref = FileRef.from_json(request["file"])
                if ref is None:
                    raise PermanentError("not a file reference", code="invalid-file")
                return str(await self._services.files.path(ref))
            case unknown:
                raise PermanentError(f"a worker asked for {unknown!r}", code="internal")


def _call_frame(call: Call, scratch: Path) -> frames.Frame:
    return {
        "t": "call",
        "run-id": call.run_id,
        "cluster": call.cluster,
        "step": call.step,
        "invocation-id": call.invocation_id,
        "attempt": call.attempt,
        "satellite": call.satellite,
        "config": dict(call.config),
        "input": dict(call.input),
        "secrets": dict(call.secrets),
        "sensitive-values": list(call.sensitive_values),
        "scratch": str(scratch),
        "deadline-ms": _now_ms() + round(call.timeout_s * 1_000),
        "memory-bytes": call.memory_bytes,
        "cpu": call.cpu,
        "allow-private-addresses": call.allow_private_addresses,
    }


def _error_json(error: Exception) -> frames.Frame:
    match error:
        case SatelliteError():
            code, permanent = error.code, isinstance(error, PermanentError)
        case InferenceError():
            code, permanent = error.code, not error.retryable
        case OrbitError():
            # A request that cannot be served anywhere; everything else may go better elsewhere or later.
            code, permanent = error.code, isinstance(error, InvalidRequestError)
        case _:
            return {"code": "internal", "message": f"{type(error).__name__}: {error}", "permanent": False}
    return {"code": code, "message": str(error), "permanent": permanent}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _level(number: int) -> LogLevel:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
