"""The log of a long-running process: one line a record, as text or as JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from orbit_core.obs.logs import log_to_stderr


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(environ: dict[str, str]) -> str:
    stream = io.StringIO()
    log_to_stderr("agent 100%", environ=environ, stream=stream)
    log = logging.getLogger("orbit.test")
    log.debug("quiet")
    log.info("it is %s", "ready")
    logging.getLogger("botocore.hooks").info("chatty")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it failed")
    return stream.getvalue()


def test_text() -> None:
    lines = logged({}).splitlines()
    time, _, rest = lines[0].partition(" ")
    assert time.endswith("Z") and len(time) == len("2026-01-31T12:00:00.123Z")
    assert rest == "INFO agent 100% orbit.test: it is ready"
    assert lines[-1] == "ValueError: broken"
    assert not any("chatty" in line or "quiet" in line for line in lines)


def test_json() -> None:
    first, second = [json.loads(line) for line in logged({"ORBIT_LOG_FORMAT": "json"}).splitlines()]
    assert (first["level"], first["process"], first["message"]) == ("info", "agent 100%", "it is ready")
    assert "ValueError: broken" in second["error"]


def test_levels() -> None:
    assert "quiet" in logged({"ORBIT_LOG": "debug"})
    assert "ready" not in logged({"ORBIT_LOG": "WARNING"})
    assert "ORBIT_LOG=LOUD is not a level" in logged({"ORBIT_LOG": "loud"})
