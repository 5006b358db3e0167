"""The outside world of the demonstration, in a process of its own: S3, a webhook, PagerDuty's inbox, on loopback.

None of it is Orbit. S3 is moto's; the two receivers remember what they are sent and tell it under `/state`, where the
address of the S3 endpoint is told too. The webhook wants the bearer token in `ORBIT_DEMO_TOKEN`. Nothing here knows
what is being demonstrated.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from orbit_core import process
from orbit_core.obs.logs import log_to_stderr

TOKEN_VARIABLE: Final = "ORBIT_DEMO_TOKEN"
WEBHOOK_PATH: Final = "/v1/financial-reports"
PAGER_PATH: Final = "/v2/enqueue"
STATE_PATH: Final = "/state"
_BODY_MAX_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that a receiver accepted. `key` tells two attempts of one invocation from two invocations."""

    key: str
    body: Any


@dataclass(slots=True)
class State:
    """What the outside world has seen."""

    s3: str
    reports: list[Delivery] = field(default_factory=list)
    alerts: list[Delivery] = field(default_factory=list)
    refused: int = 0

    @classmethod
    def from_json(cls, document: bytes) -> State:
        said = json.loads(document)
        deliveries = {name: [Delivery(**each) for each in said[name]] for name in ("reports", "alerts")}
        return cls(said["s3"], deliveries["reports"], deliveries["alerts"], said["refused"])


class Receivers(ThreadingHTTPServer):
    """The webhook and the pager. `state` is what they have seen."""

    daemon_threads = True

    def __init__(self, s3: str, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = State(s3)
        self.lock = threading.Lock()
        self.token = token


class _Handler(BaseHTTPRequestHandler):
    server: Receivers  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.lock:
            state = asdict(self.server.state)
        self._answer(200 if self.path == STATE_PATH else 404, state)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if length > _BODY_MAX_BYTES:
            self.close_connection = True
            self._answer(413, {})
            return
        body = json.loads(self.rfile.read(length) or b"null")
        with self.server.lock:
            self._answer(*self._received(body))

    def _received(self, body: Any) -> tuple[int, dict[str, Any]]:
        state = self.server.state
        if self.path == WEBHOOK_PATH:
            if self.headers.get("Authorization") != f"Bearer {self.server.token}":
                state.refused += 1
                return 401, {"error": "unauthorized"}
            state.reports.append(Delivery(self.headers.get("Idempotency-Key", ""), body))
            return 200, {"accepted": True}
        if self.path == PAGER_PATH:
            state.alerts.append(Delivery(body.get("dedup_key", ""), body))
            return 202, {"status": "success", "dedup_key": body.get("dedup_key", "")}
        return 404, {}

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are remembered, not logged."""


def main() -> None:
    process.end_with_parent()
    log_to_stderr("outside")
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    receivers = Receivers(f"http://{host}:{port}", os.environ[TOKEN_VARIABLE])
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=receivers.shutdown).start())
    process.say_ready("outside", f"127.0.0.1:{receivers.server_port}")
    receivers.serve_forever(poll_interval=0.1)
    receivers.server_close()


if __name__ == "__main__":
    main()
