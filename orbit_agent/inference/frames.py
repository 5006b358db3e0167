"""JSON objects with a length in front, over a stream: what an agent and a model's process say to each other.

Separate from the workers' frames, so that a model's process need not import what workers run.
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

_HEADER = struct.Struct(">I")


class FrameError(Exception):
    """The other side sent something that is not a frame."""


def encode(frame: Frame) -> bytes:
    """Raises FrameError for what JSON cannot hold or is too large. Lone surrogates become `?`."""
    try:
        body = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"not to be written as JSON: {error}") from error
    if len(body) > FRAME_MAX_BYTES:
        raise FrameError(f"{len(body)} bytes are more than a frame may hold ({FRAME_MAX_BYTES})")
    return _HEADER.pack(len(body)) + body


async def read_async(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame, or None once the other side is gone."""
    try:
        (length,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
        return _decode(await reader.readexactly(_checked(length)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def read_blocking(channel: socket.socket) -> Frame | None:
    """As `read_async`, on a blocking socket."""
    header = _receive(channel, _HEADER.size)
    if header is None:
        return None
    body = _receive(channel, _checked(_HEADER.unpack(header)[0]))
    return None if body is None else _decode(body)


def _receive(channel: socket.socket, size: int) -> bytes | None:
    body = bytearray()
    while len(body) < size:
        try:
            part = channel.recv(min(size - len(body), MIB))
        except ConnectionError:
            return None
        if not part:
            return None
        body += part
    return bytes(body)


def _checked(length: int) -> int:
    if length > FRAME_MAX_BYTES:
        raise FrameError(f"a frame of {length} bytes was announced")
    return length


def _decode(body: bytes) -> Frame:
    try:
        frame = json.loads(body)
    except ValueError as error:
        raise FrameError(f"not JSON: {error}") from error
    if not isinstance(frame, dict) or not isinstance(frame.get("t"), str):
        raise FrameError("a frame is an object with a type")
    return frame
