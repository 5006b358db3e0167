"""`python -m orbit_agent.workers.child FD PARENT-PID`: a worker process, one attempt after the other.

Only the process's outermost loop is here; what an attempt is stands in `attempt`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys

from orbit_agent.workers import restrict
from orbit_agent.workers.attempt import Attempt
from orbit_agent.workers.channel import Channel
from orbit_agent.workers.frames import END_OF_OUTPUT
from satellites import registry


def main(arguments: list[str]) -> None:
    fd, parent_pid = map(int, arguments)
    restrict.at_start(parent_pid)
    os.set_inheritable(fd, False)
    for stream in (sys.stdout, sys.stderr):
        # Line by line: what is still in a buffer when the process dies is lost.
        stream.reconfigure(line_buffering=True, errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    registry.installed()  # imports every satellite now, while nobody waits for it
    _end_output()  # what libraries said while they were imported belongs to no attempt
    serve(Channel(socket.socket(fileno=fd)))


def serve(channel: Channel) -> None:
    """Runs attempts until the agent closes the channel, which ends the process."""
    home = os.getcwd()
    while True:
        channel.send({"t": "ready"})
        attempt = Attempt(channel, channel.calls.get())
        restrict.for_attempt(attempt.memory_bytes)
        restrict.reset_peak_memory()
        # A loop of its own for each attempt: closing it ends the tasks and generators that were left behind.
        asyncio.run(attempt.run(before_result=_end_output))
        os.chdir(home)


def _end_output() -> None:
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        with contextlib.suppress(OSError):
            # Past the stream's own buffer: a satellite may have put another object into its place.
            os.write(fd, END_OF_OUTPUT)


if __name__ == "__main__":
    main(sys.argv[1:])
