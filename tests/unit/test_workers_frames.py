"""Frames on both kinds of socket, and output cut into lines."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orbit_agent.workers import frames
from orbit_agent.workers.output import OutputPump
from orbit_core.limits import LOG_LINE_MAX_CHARS


def reader_of(*chunks: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    return reader


async def test_a_frame_comes_back_as_it_was_sent_on_both_kinds_of_socket() -> None:
    sent = [{"t": "object", "value": {"text": "Ácme \U0001f6f0", "n": [1.5, None, True]}}, {"t": "ready"}]
    data = b"".join(map(frames.encode, sent))
    reader = reader_of(*(data[index : index + 3] for index in range(0, len(data), 3)))
    assert [await frames.read_async(reader) for _ in range(3)] == [*sent, None]

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        assert [frames.read_blocking(theirs) for _ in range(3)] == [*sent, None]


async def test_a_frame_that_breaks_off_is_the_end() -> None:
    data = frames.encode({"t": "ready"})
    assert await frames.read_async(reader_of(data[:-1])) is None
    assert await frames.read_async(reader_of(data[:2])) is None


@pytest.mark.parametrize("body", [b"no json", b"[1]", b'{"a": 1}', b'{"t": 1}', b"\xff\xfe"])
async def test_what_is_no_frame_is_an_error(body: bytes) -> None:
    with pytest.raises(frames.FrameError):
        await frames.read_async(reader_of(len(body).to_bytes(4, "big") + body))


async def test_a_frame_over_the_limit_is_not_waited_for() -> None:
    with pytest.raises(frames.FrameError):
        await frames.read_async(reader_of((frames.FRAME_MAX_BYTES + 1).to_bytes(4, "big")))


async def test_text_that_utf8_cannot_hold_does_not_stop_a_frame() -> None:
    frame = await frames.read_async(reader_of(frames.encode({"t": "log", "message": "lone \ud800 half"})))
    assert frame == {"t": "log", "message": "lone ? half"}


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=30)), st.data())
def test_lines_come_out_however_they_were_cut(lines: list[str], data: st.DataObject) -> None:
    content = "\n".join(lines).encode() + frames.END_OF_OUTPUT + b"next attempt"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]

    async def pumped() -> list[str]:
        found: list[str] = []
        pump = OutputPump(reader_of(*chunks), found.append)
        await pump.task
        return found

    expected = [line.rstrip() for line in lines if line.rstrip()]
    assert asyncio.run(pumped()) == [*expected, "next attempt"]


async def test_a_line_without_end_is_handed_on_in_pieces() -> None:
    found: list[str] = []
    reader = asyncio.StreamReader()
    pump = OutputPump(reader, found.append)
    for _ in range(10):
        reader.feed_data(b"x" * (LOG_LINE_MAX_CHARS + 1))
        await asyncio.sleep(0)
    reader.feed_eof()
    await pump.task
    assert sum(map(len, found)) == 10 * (LOG_LINE_MAX_CHARS + 1)
    assert len(found) > 1
