"""One attempt, seen from inside the worker: find the satellite, check what it is given, drive it, report.

Whatever a satellite does ends here as a `result` frame; only the death of the process is the agent's to notice.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import shutil
import tempfile
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from orbit_agent.workers import restrict
from orbit_agent.workers.channel import Channel
from orbit_agent.workers.frames import Frame, FrameError
from orbit_core.limits import ERROR_MESSAGE_MAX_CHARS, LOG_LINE_MAX_CHARS, MIB, OBJECT_MAX_BYTES
from orbit_core.security.redact import Redactor
from satellites import registry
from satellites.contract import (
    Context,
    Embedded,
    FileRef,
    GenerateCall,
    Generated,
    Overflow,
    PermanentError,
    Satellite,
    SatelliteError,
    Scored,
    Usage,
)

#: Libraries size their thread pools by these, and would take the whole machine.
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Attempt:
    """What the agent asked for in one `call` frame."""

    def __init__(self, channel: Channel, call: Frame) -> None:
        self.memory_bytes: int = call["memory-bytes"]
        self._channel = channel
        self._call = call
        self._redactor = Redactor((*call["secrets"].values(), *call["sensitive-values"]))

    async def run(self, *, before_result: Callable[[], None]) -> None:
        self._channel.begin()
        handler = _LogFrames(self._channel, self._redactor)
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(logging.WARNING)
        try:
            await self._drive(self._context())
        except asyncio.CancelledError:
            result = self._failure("exception", "the satellite cancelled itself", retryable=True)
        except BaseException as error:  # sys.exit included: nothing that a satellite raises ends the process
            result = self._failed(error)
        else:
            result = self._failure("", "", retryable=False) | {"status": "succeeded"}
        before_result()
        self._channel.send(result)

    async def _drive(self, context: Context) -> None:
        satellite = _satellite(self._call["satellite"])
        missing = [name for name in satellite.required_secrets if not context.secrets.get(name)]
        if missing:
            raise PermanentError(
                f"{self._call['satellite']} needs the secret{'s'[: len(missing) > 1]} {', '.join(missing)}: "
                "name them under config.secrets of this step",
                code="missing-secret",
            )
        # `secrets` in a config is the step's, not the satellite's.
        given = {key: value for key, value in self._call["config"].items() if key != "secrets"}
        config = _checked(satellite.Config, given, "config")
        input_ = _checked(satellite.Input, self._call["input"], "input")
        async for value in _objects(satellite().run(config, input_, context)):
            await self._give(value)

    async def _give(self, value: object) -> None:
        if not isinstance(value, dict):
            raise _invalid_result(f"gave a {type(value).__name__} as a result; an object (a dict) is expected")
        try:
            encoded = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            if self._redactor.found_in(encoded):
                encoded = json.dumps(self._redactor.data(value), ensure_ascii=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as error:
            raise _invalid_result(f"gave a result that JSON cannot hold: {error}") from error
        if len(encoded) > OBJECT_MAX_BYTES:
            raise _invalid_result(
                f"gave an object of {len(encoded) // MIB} MiB, and the most is {OBJECT_MAX_BYTES // MIB}: "
                "put the data into a file (context.files.put)"
            )
        await self._channel.send_object(encoded)

    def _context(self) -> Context:
        call = self._call
        scratch = Path(call["scratch"])
        os.chdir(scratch)
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        for name in _THREAD_VARIABLES:
            os.environ[name] = str(max(1, round(call["cpu"])))
        log = logging.getLogger(f"orbit.step.{call['step']}")
        log.setLevel(logging.DEBUG)
        return Context(
            run_id=call["run-id"],
            cluster=call["cluster"],
            step=call["step"],
            invocation_id=call["invocation-id"],
            attempt=call["attempt"],
            secrets=call["secrets"],
            scratch=scratch,
            deadline_ms=call["deadline-ms"],
            files=_Files(self._channel, scratch),
            models=_Models(self._channel),
            log=log,
            allow_private_addresses=call["allow-private-addresses"],
            usage=_ReportedUsage(self._channel),
        )

    def _failed(self, error: BaseException) -> Frame:
        match error:
            case SatelliteError():
                return self._failure(error.code, str(error), retryable=not isinstance(error, PermanentError))
            case MemoryError():
                limit = f"{self.memory_bytes / MIB:.0f} MiB"
                return self._failure(
                    "memory-limit",
                    f"an allocation failed far above the memory limit of {limit}: raise `resources.memory`",
                    retryable=False,
                )
            case _:
                stack = "".join(traceback.format_exception(error)).rstrip()
                logging.getLogger("orbit.satellite").error("%s", stack)
                return self._failure("exception", f"{type(error).__name__}: {error}", retryable=True)

    def _failure(self, code: str, message: str, *, retryable: bool) -> Frame:
        return {
            "t": "result",
            "status": "failed",
            "code": code,
            "message": self._redactor.text(message)[:ERROR_MESSAGE_MAX_CHARS],
            "retryable": retryable,
            "peak-memory-bytes": restrict.peak_memory_bytes(),
        }


def _satellite(name: str) -> type[Satellite[Any, Any]]:
    try:
        return registry.get(name)
    except registry.UnknownSatelliteError as error:
        raise SatelliteError(str(error), code="unknown-satellite") from error


def _checked(model: type[BaseModel], value: Mapping[str, Any], what: str) -> BaseModel:
    """`value` as the satellite's model; the message names each field, and never repeats what stood there."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join([what, *map(str, problem['loc'])])}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise PermanentError(problems, code=f"invalid-{what}") from error


async def _objects(result: Any) -> AsyncIterator[object]:
    """What a satellite's `run` gave, whichever of the permitted forms it has."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncIterator):
        async for value in result:
            yield value
    elif isinstance(result, Iterable) and not isinstance(result, str | bytes | Mapping):
        for value in result:
            yield value
    else:
        raise _invalid_result(f"gave a {type(result).__name__}; a list of objects is expected")


def _invalid_result(message: str) -> PermanentError:
    return PermanentError(f"the satellite {message}", code="invalid-result")


class _ReportedUsage(list[Usage]):
    """Tells the agent at once: tokens that were used count, even if the process does not live to say so."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def append(self, usage: Usage, /) -> None:
        super().append(usage)
        self._channel.send({"t": "usage", "input-tokens": usage.input_tokens, "output-tokens": usage.output_tokens})

    def extend(self, usages: Iterable[Usage], /) -> None:
        for usage in usages:
            self.append(usage)


class _LogFrames(logging.Handler):
    def __init__(self, channel: Channel, redactor: Redactor) -> None:
        super().__init__()
        self._channel = channel
        self._redactor = redactor

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception as error:
            message = f"{record.msg!r} (the arguments of this log record do not fit it: {error})"
        self._channel.send(
            {
                "t": "log",
                "level": record.levelno,
                "source": record.name,
                "time-ms": int(record.created * 1_000),
                "message": self._redactor.text(message)[:LOG_LINE_MAX_CHARS],
            }
        )


class _Files:
    """`satellites.contract.Files`, served by the agent; every path lies in this attempt's scratch directory."""

    def __init__(self, channel: Channel, scratch: Path) -> None:
        self._channel = channel
        self._scratch = scratch

    async def put(self, source: bytes | Path, *, name: str, media_type: str = "application/octet-stream") -> FileRef:
        if isinstance(source, Path):
            return await self._put(self._scratch / source, name, media_type)
        # Handed over as a file, whatever its size: bytes do not travel well in JSON.
        handle, path = tempfile.mkstemp(prefix="put-", dir=self._scratch)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(source)
            return await self._put(Path(path), name, media_type)
        finally:
            os.unlink(path)

    async def _put(self, path: Path, name: str, media_type: str) -> FileRef:
        value = await self._channel.request("put", path=str(path), name=name, **{"media-type": media_type})
        ref = FileRef.from_json(value)
        if ref is None:
            raise FrameError("the agent answered with something that is not a file reference")
        return ref

    async def path(self, ref: FileRef) -> Path:
        stored = await self._channel.request("path", file=ref.to_json())
        # A copy: the agent's own must stay what its hash says, whatever a satellite does to this one.
        directory = Path(tempfile.mkdtemp(prefix="file-", dir=self._scratch))
        copy = directory / (Path(ref.name).name or "file")
        await asyncio.to_thread(shutil.copyfile, stored, copy)
        copy.chmod(0o444)
        return copy


class _Models:
    """`satellites.contract.Models`, served by the agent's process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def generate(self, call: GenerateCall) -> Generated:
        return Generated(**await self._channel.request("generate", call=asdict(call)))

    async def embed(
        self, model: str, texts: Sequence[str], *, normalize: bool = True, context_overflow: Overflow = "truncate"
    ) -> Embedded:
        answer = await self._channel.request(
            "embed", model=model, texts=list(texts), normalize=normalize, overflow=context_overflow
        )
        return Embedded(answer["vectors"], input_tokens=answer["input-tokens"], truncated=answer["truncated"])

    async def score(
        self, model: str, pairs: Sequence[tuple[str, str | None]], *, context_overflow: Overflow = "truncate"
    ) -> Scored:
        return Scored(
            **await self._channel.request(
                "score", model=model, pairs=[list(pair) for pair in pairs], overflow=context_overflow
            )
        )
