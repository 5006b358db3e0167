"""Identifiers: how they look, and how they are made. Pure: randomness and time are handed in."""

from __future__ import annotations

import base64
import hashlib
import re

#: One part of a name: a project, a cluster, a step, a satellite.
NAME_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,118}[a-z0-9])?")

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def _base32(value: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        value, low = divmod(value, 32)
        digits.append(_CROCKFORD[low])
    return "".join(reversed(digits))


def time_ordered_id(prefix: str, now_ms: int, entropy: bytes) -> str:
    """`<prefix>-<10 characters of time><10 of randomness>`; sorts by time. `entropy`: at least 7 bytes."""
    if len(entropy) < 7:
        raise ValueError("at least 7 bytes of entropy")
    return f"{prefix}-{_base32(now_ms, 10)}{_base32(int.from_bytes(entropy[:7], 'big'), 10)}"


def derived_id(prefix: str, *parts: str | int) -> str:
    """An identifier that the same parts always give: `<prefix>-` and 20 characters of a BLAKE2b hash."""
    joined = "\x00".join(str(part) for part in parts).encode()
    digest = hashlib.blake2b(joined, digest_size=13).digest()
    return f"{prefix}-{base64.b32encode(digest).decode().lower()[:20]}"


def content_hash(data: bytes) -> str:
    """The SHA-256 of `data`, in hexadecimal: the name of a blob."""
    return hashlib.sha256(data).hexdigest()
