"""`orbit tui` before it draws anything: what it refuses, and that no log line is written across its screen."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tui.cli.commands import tui as command
from tui.cli.main import run


def test_without_a_terminal_it_says_what_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tui", "--address", "127.0.0.1:7070"]) == 6
    said = capsys.readouterr().err
    assert "draws on a terminal, and there is none here" in said
    assert "`orbit status -w`" in said


def test_a_terminal_that_cannot_draw_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert run(["tui", "--address", "127.0.0.1:7070"]) == 6
    assert "draws on a terminal" in capsys.readouterr().err


def test_where_no_mesh_is_named_that_is_said_and_no_screen_is_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "_refuse_without_terminal", lambda: None)
    monkeypatch.setenv("ORBIT_HOME", str(tmp_path))
    monkeypatch.delenv("ORBIT_ADDRESS", raising=False)
    assert run(["tui"]) == 5
    assert "orbit up" in capsys.readouterr().err


def test_no_log_line_is_written_while_the_screen_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handler = logging.StreamHandler()
    root.addHandler(handler)
    before = list(root.handlers)
    try:
        with command._quiet_log():
            logging.getLogger("grpc").error("across the screen")
        assert capsys.readouterr() == ("", "")
        assert root.handlers == before
    finally:
        root.removeHandler(handler)
