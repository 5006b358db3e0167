"""`python -m orbit_agent.inference.child FD`: one loaded model, in a process of its own.

    agent → model   load   {folder, settings}         once
                    run    {key, request}             any number, answered in any order
                    cancel {key}                      no answer follows
    model → agent   ready  {}                         everything is imported
                    loaded {info} | failed {code, message, remedy}
                    result {key, result} | error {key, code, message, remedy}

Three threads: one reads and prepares (tokenising, compiling schemas), the main one runs the backend, one writes. The
agent's end of the socket closing ends the process at once, whatever the backend is doing.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, NoReturn

# Before any import of a runtime: its wheels send telemetry otherwise.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from orbit_agent.inference import frames, providers, wire
from orbit_agent.inference.backend import Backend, LoadSettings, Outcome, open_backend
from orbit_agent.inference.errors import InferenceError

_log = logging.getLogger("orbit.inference.child")

NICENESS: Final = 10

#: Something to be done on the main thread, with the backend.
_Action = Callable[[Backend], None]


class Child:
    """The loop of a model's process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._outbox: SimpleQueue[frames.Frame] = SimpleQueue()
        self._inbox: SimpleQueue[_Action] = SimpleQueue()

    def run(self) -> None:
        """Serves until the agent goes away, which ends the process."""
        Thread(target=self._write, name="writer", daemon=True).start()
        self._outbox.put({"t": "ready"})
        backend = self._load(self._read())
        Thread(target=self._receive, args=(backend,), name="reader", daemon=True).start()
        while True:
            while not (backend.busy and self._inbox.empty()):
                self._inbox.get()(backend)
            for key, outcome in backend.step():
                self._answer(key, outcome)

    def _load(self, frame: frames.Frame) -> Backend:
        try:
            backend = open_backend(Path(frame["folder"]), LoadSettings(**frame["settings"]))
        except InferenceError as error:
            self._outbox.put({"t": "failed", **_error_fields(error)})
            self._wait_for_hang_up()
        info = backend.info
        self._outbox.put({"t": "loaded", "info": {name: getattr(info, name) for name in info.__slots__}})
        return backend

    def _wait_for_hang_up(self) -> NoReturn:
        """The agent has been told why nothing was loaded; reading on ends the process when it hangs up."""
        while True:
            self._read()

    def _receive(self, backend: Backend) -> None:
        while True:
            frame = self._read()
            key = frame["key"]
            if frame["t"] == "cancel":
                self._inbox.put(_cancel(key))
                continue
            try:
                prepared = backend.prepare(wire.decode_request(frame["request"]))
            except Exception as error:
                self._answer(key, _as_inference_error(error))
                continue
            self._inbox.put(_admit(key, prepared))

    def _answer(self, key: int, outcome: Outcome) -> None:
        if isinstance(outcome, InferenceError):
            self._outbox.put({"t": "error", "key": key, **_error_fields(outcome)})
        else:
            self._outbox.put({"t": "result", "key": key, "result": wire.encode_result(outcome)})

    def _read(self) -> frames.Frame:
        frame = frames.read_blocking(self._channel)
        if frame is None:
            # The agent has gone or has dropped this model; a run of the model is not waited for.
            os._exit(0)
        return frame

    def _write(self) -> None:
        while True:
            try:
                self._channel.sendall(frames.encode(self._outbox.get()))
            except OSError:
                os._exit(0)


def _admit(key: int, prepared: Any) -> _Action:
    return lambda backend: backend.admit(key, prepared)


def _cancel(key: int) -> _Action:
    return lambda backend: backend.cancel(key)


def _error_fields(error: InferenceError) -> dict[str, str | None]:
    return {"code": error.code, "message": error.message, "remedy": error.remedy}


def _as_inference_error(error: Exception) -> InferenceError:
    if isinstance(error, InferenceError):
        return error
    _log.error("a request could not be prepared:\n%s", "".join(traceback.format_exception(error)))
    return InferenceError(f"the request could not be prepared: {type(error).__name__}: {error}")


def _give_way() -> None:
    """The agent comes first: for the processor, and for staying alive when memory runs out."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _stand_by() -> None:
    """Does ahead of a load what needs no model: imports, and the set-up that onnxruntime's first session pays for.

    What is not installed is told by the load that needs it.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("orbit_agent.inference.batching")
        importlib.import_module("orbit_agent.inference.encoder")
        providers.usable([providers.CPU], importlib.import_module("onnxruntime"))


def main() -> None:
    """The process's entry point."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the agent decides when to stop
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    _give_way()
    _stand_by()
    Child(channel).run()


if __name__ == "__main__":
    main()
