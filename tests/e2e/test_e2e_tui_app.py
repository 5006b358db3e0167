"""`orbit tui` in a real terminal, over a live mesh: opened, a run seen to its end, another one cancelled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: no terminal to draw on"),
]

ROOT = Path(__file__).parents[2]
CLUSTER = """
version: 0.0.1b
cluster:
  identifier: test/{name}
  sla: 10m
  trigger: {{api-call: true}}
  satellites:
  - {{uses: satellite/orbit/echo, identifier: many, config: {{objects: [{{a: 1}}], copies: 6}}}}
  - {{uses: satellite/orbit/sleep, identifier: rest, timeout: 5m, config: {{seconds: {seconds}}}}}
"""


class Terminal:
    """A tmux server of its own, with one window."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        settings = [f"{name}={value}" for name, value in environment.items()]
        self._tmux("new-session", "-d", "-x", "120", "-y", "40", "env", *settings, *command)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    @property
    def is_open(self) -> bool:
        return subprocess.run(["tmux", "-S", self._socket, "has-session"], capture_output=True).returncode == 0

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


async def test_a_run_is_seen_to_its_end_and_another_one_is_cancelled(
    start_mesh, connect, eventually, terminal, tmp_path
):
    mesh = await start_mesh()
    client = connect(mesh)
    for name, seconds in (("short", 1), ("long", 300)):
        await client.submit(CLUSTER.format(name=name, seconds=seconds).encode())

    async def shows(*texts: str) -> None:
        try:
            await eventually(lambda: all(text in terminal.screen for text in texts), seconds=60)
        except TimeoutError:
            pytest.fail(f"{texts} not on the screen:\n{terminal.screen}")

    terminal.start(
        [sys.executable, "-m", "tui.cli.main", "tui", "--address", ",".join(mesh.addresses)],
        {"PYTHONPATH": str(ROOT), "ORBIT_HOME": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )
    await shows("coordinator-0", "cheap", "middle", "No runs yet")

    short = await client.trigger("test/short")
    await shows("test/short", "1 run under way")
    terminal.press("Enter")
    await shows(f"{short.run_id} of test/short", "many", "rest")
    await shows("succeeded 100%", "SLA met", "6/6", "test/short succeeded")
    terminal.press("Escape")
    await shows("0 runs under way")

    long = await client.trigger("test/long")
    await shows("test/long", "1 run under way", "left")
    terminal.press("Up")
    terminal.press("c")
    await shows(f"Cancel {long.run_id}?")
    terminal.press("y")
    await shows("test/long cancelled", "0 runs under way")
    assert (await client.run(long.run_id)).state == "cancelled"

    terminal.press("q")
    await eventually(lambda: not terminal.is_open, seconds=30, what="the terminal is given back")
