"""The outside world of the chaos runs: a webhook that counts, and how long it heard nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Quiet(ThreadingHTTPServer):
    """Callers are killed while they wait for an answer: that is what this is for, and not worth a traceback."""

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Webhook:
    """Counts the `Idempotency-Key` of every request that comes to `host`."""

    def __init__(self, host: str) -> None:
        self.keys: Counter[str] = Counter()
        self.last_s = time.monotonic()
        self.longest_gap_s = 0.0
        self.waiting = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.count(self.headers.get("Idempotency-Key", ""))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = _Quiet((host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://{host}:{self._server.server_port}/hook"

    def count(self, key: str) -> None:
        now_s = time.monotonic()
        self.keys[key] += 1
        if self.waiting:
            self.longest_gap_s = max(self.longest_gap_s, now_s - self.last_s)
        self.last_s = now_s

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
