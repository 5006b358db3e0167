"""What an agent and its worker process say to each other: JSON objects with a length in front, over a socketpair.

    agent → worker   call    {…}                        begin this attempt (one at a time)
                     reply   {id, value | error}        the answer to a request
                     ack     {size}                     objects of that size have been taken over
    worker → agent   ready   {}                         started, or done with cleaning up after an attempt
                     object  {value, size}              one result
                     log     {level, source, message, time-ms}
                     usage   {input-tokens, output-tokens}
                     request {id, op, …}                a model call or a file
                     result  {status, code, message, retryable, peak-memory-bytes}   the attempt has ended

Both sides import this; it knows neither of them.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, Final

from orbit_core.limits import MIB

Frame = dict[str, Any]

FRAME_MAX_BYTES: Final = 256 * MIB
#: Objects that a worker may have under way before it waits for the agent to take some over.
OBJECT_WINDOW_CHARS: Final = 1 * MIB
#: Ends an attempt's share of stdout and of stderr; the agent reads up to it before it calls the attempt ended.
END_OF_OUTPUT: Final = b"\x00orbit-end-of-output\x00\n"

_HEADER = struct.Struct(">I")


class FrameError(Exception):
    """The other side sent something that is not a frame."""


def encode(frame: Frame) -> bytes:
    """Raises ValueError or TypeError for what JSON cannot hold (NaN included), FrameError for what is too large."""
    return pack(json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def pack(text: str) -> bytes:
    """A frame from JSON that is encoded already. Lone surrogates, which UTF-8 cannot hold, become `?`."""
    body = text.encode("utf-8", errors="replace")
    if len(body) > FRAME_MAX_BYTES:
        raise FrameError(f"{len(body)} bytes are more than a frame may hold ({FRAME_MAX_BYTES})")
    return _HEADER.pack(len(body)) + body


async def read_async(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame, or None once the other side is gone."""
    try:
        (length,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        if length > FRAME_MAX_BYTES:
            raise FrameError(f"a frame of {length} bytes was announced")
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return _decode(body)


def read_blocking(sock: socket.socket) -> Frame | None:
    """As `read_async`, on a blocking socket."""
    header = _receive(sock, _HEADER.size)
    body = _receive(sock, _HEADER.unpack(header)[0]) if header is not None else None
    return None if body is None else _decode(body)


def _receive(sock: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = sock.recv(min(size - len(parts), MIB))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)


def _decode(body: bytes) -> Frame:
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON that can be read: {error}") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("t"), str):
        raise FrameError("a frame is an object with a type")
    return frame
