"""A stand-in for the Hugging Face hub on loopback: one repository, its commits and branches, over the hub's own API.

What is asked of it comes from the real `huggingface_hub`, told of it by `HF_ENDPOINT`.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY = "acme/tiny"
CHUNK_BYTES = 256 * 1024


@dataclass
class Hub:
    """`commits`: files by path, by commit; `branches`: commit by name. `asked`: method and path of every request."""

    url: str = ""
    commits: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def push(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """A new commit, at the head of the branch."""
        listing = json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())})
        commit = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def commit_of(self, revision: str) -> str | None:
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None


@contextmanager
def serve(bytes_per_second: float = math.inf) -> Iterator[Hub]:
    """The hub while it lasts, behind a link of that speed."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            about = path.removeprefix(f"/api/models/{REPOSITORY}")
            if about.startswith("/tree/") and (commit := hub.commit_of(about.removeprefix("/tree/"))):
                entries = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in hub.commits[commit].items()
                ]
                self._say(200, json.dumps(entries).encode(), {"Content-Type": "application/json"})
                return
            if about != path:
                self._describe(about.removeprefix("/revision/") or "main")
                return
            rest = path.removeprefix(f"/{REPOSITORY}/resolve/")
            revision, _, name = rest.partition("/")
            commit = hub.commit_of(revision) if rest != path else None
            content = hub.commits[commit].get(name) if commit else None
            if commit is None or content is None:
                self._say(404, b"", {"X-Error-Code": "EntryNotFound" if commit else "RepoNotFound"})
                return
            etag = hashlib.sha256(content).hexdigest()
            self._say(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

        def _describe(self, revision: str) -> None:
            commit = hub.commit_of(revision)
            if commit is None:
                self._say(404, b"", {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = [{"rfilename": name, "size": len(content)} for name, content in hub.commits[commit].items()]
            about: dict[str, Any] = {"id": REPOSITORY, "modelId": REPOSITORY, "sha": commit, "siblings": siblings}
            self._say(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

        def _say(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self._send(memoryview(content))

        def _send(self, content: memoryview) -> None:
            started = time.monotonic()
            for start in range(0, len(content), CHUNK_BYTES):
                self.wfile.write(content[start : start + CHUNK_BYTES])
                time.sleep(max(0.0, started + (start + CHUNK_BYTES) / bytes_per_second - time.monotonic()))

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
