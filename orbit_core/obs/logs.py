"""How a long-running process of Orbit's logs: one line a record, to standard error.

`ORBIT_LOG` is the level (`INFO` unless said), `ORBIT_LOG_FORMAT` is `text` or `json`. Times are UTC. What a record
says is the business of who logs it, and keeping secrets out of it too: nothing is filtered here.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Final, TextIO

LEVEL_VARIABLE: Final = "ORBIT_LOG"
FORMAT_VARIABLE: Final = "ORBIT_LOG_FORMAT"

#: Libraries that tell more at INFO than anybody wants to know.
_CHATTY: Final = ("asyncio", "boto3", "botocore", "httpcore", "httpx", "s3transfer", "urllib3", "werkzeug")


def log_to_stderr(name: str, *, environ: Mapping[str, str] = os.environ, stream: TextIO | None = None) -> None:
    """Send every record to standard error, as of the process `name`. Warnings of the interpreter are records too."""
    handler = logging.StreamHandler(stream or sys.stderr)
    as_json = environ.get(FORMAT_VARIABLE, "text").lower() == "json"
    handler.setFormatter(_JsonFormatter(name) if as_json else _TextFormatter(name))
    level = environ.get(LEVEL_VARIABLE, "INFO").upper()
    known = level in logging.getLevelNamesMapping()
    logging.basicConfig(handlers=[handler], level=level if known else "INFO", force=True)
    logging.captureWarnings(True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
    if not known:
        logging.getLogger(__name__).warning("%s=%s is not a level: INFO is used", LEVEL_VARIABLE, level)


class _TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO coordinator-0 orbit_core.store: message`, a traceback below it."""

    converter = time.gmtime

    def __init__(self, name: str) -> None:
        layout = f"%(asctime)s.%(msecs)03dZ %(levelname)s {name.replace('%', '%%')} %(name)s: %(message)s"
        super().__init__(layout, "%Y-%m-%dT%H:%M:%S")


class _JsonFormatter(logging.Formatter):
    """One JSON object a line: `time_ms`, `level`, `process`, `logger`, `message`, and `error` with a traceback."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "process": self._name,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)
