"""Sends one HTTP request as every satellite must: to a checked address, without redirects, with bounded answers.

The address that was checked is the one that is connected to; the name goes into `Host` and TLS only. Otherwise a
name could resolve to something harmless for the check and to something else for the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orbit_core.limits import MIB
from satellites.contract import Context, PermanentError, SatelliteError
from satellites.http import addresses

if TYPE_CHECKING:
    import ssl

    import httpx

RESPONSE_MAX_BYTES: Final = 1 * MIB
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
#: Answers after which the same request may succeed.
_PASSING_STATUSES: Final = frozenset({408, 425, 429})
_SHOWN_CHARS: Final = 300
#: Problems that no later try of the same request can solve.
_MALFORMED: Final = ("LocalProtocolError", "UnsupportedProtocol", "InvalidURL")


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose status was expected. `truncated`: the body went on after `RESPONSE_MAX_BYTES`."""

    status: int
    body: bytes
    media_type: str
    charset: str
    truncated: bool

    def value(self) -> Any:
        """The body: parsed where it is JSON, text otherwise, None where it is empty."""
        if not self.body:
            return None
        text = self.body.decode(self.charset, errors="replace")
        if self.media_type == "application/json" or self.media_type.endswith("+json"):
            try:
                return json.loads(text, parse_constant=lambda constant: None)
            except ValueError:
                return text
        return text


async def send(
    method: str,
    url: str,
    context: Context,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    timeout_s: float = 30.0,
    expected: Collection[int] | None = None,
) -> Answer:
    """Sends the request with the invocation's idempotency key. `expected`: statuses of success; None: any 2xx.

    Raises `PermanentError` where repeating is of no use (4xx, redirects, refused addresses), `SatelliteError` else.
    """
    import httpx

    try:
        target = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise PermanentError(f"{url!r} is not a URL: {error}", code="bad-url") from error
    if target.scheme not in ("http", "https") or not target.host:
        raise PermanentError(f"{url!r} is not an http or https URL", code="bad-url")
    port = target.port or (443 if target.scheme == "https" else 80)
    candidates = await addresses.resolve(target.host, port, allow_private=context.allow_private_addresses)
    all_headers = {"User-Agent": "orbit", **(headers or {}), IDEMPOTENCY_KEY: context.invocation_id}
    all_headers |= {"Host": target.netloc.decode(), "Accept-Encoding": "identity"}
    try:
        # Of the whole exchange: httpx's own limit begins anew with every byte that trickles in.
        async with asyncio.timeout(timeout_s):
            received = await _exchange(method, target, candidates, all_headers, content)
    except (httpx.HTTPError, TimeoutError) as error:
        raise _not_sent(error, target, timeout_s) from error
    return _checked(received, target, expected)


async def _exchange(
    method: str, target: httpx.URL, candidates: list[str], headers: Mapping[str, str], content: bytes | None
) -> _Received:
    """Over the first of the addresses that accepts a connection."""
    import httpx

    # No proxies and no .netrc of the machine: they would see, or add, what is not theirs.
    client = httpx.AsyncClient(verify=_tls(), timeout=None, follow_redirects=False, trust_env=False)
    async with client:
        for address in candidates[:-1]:
            with contextlib.suppress(httpx.ConnectError):
                return await _receive(client, method, target, address, headers, content)
        return await _receive(client, method, target, candidates[-1], headers, content)


@dataclass(frozen=True, slots=True)
class _Received:
    answer: Answer
    location: str


@functools.cache
def _tls() -> ssl.SSLContext:
    """Kept: reading all certificate authorities takes longer than most requests."""
    import httpx

    return httpx.create_ssl_context()


async def _receive(
    client: httpx.AsyncClient,
    method: str,
    target: httpx.URL,
    address: str,
    headers: Mapping[str, str],
    content: bytes | None,
) -> _Received:
    request = client.build_request(
        method,
        target.copy_with(host=address),
        headers=headers,
        content=content,
        extensions={"sni_hostname": target.raw_host.decode()},
    )
    response = await client.send(request, stream=True)
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > RESPONSE_MAX_BYTES:
                break
    finally:
        await response.aclose()
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    answer = Answer(
        status=response.status_code,
        body=bytes(body[:RESPONSE_MAX_BYTES]),
        media_type=media_type,
        charset=response.charset_encoding or "utf-8",
        truncated=len(body) > RESPONSE_MAX_BYTES,
    )
    return _Received(answer, response.headers.get("location", ""))


def _checked(received: _Received, url: httpx.URL, expected: Collection[int] | None) -> Answer:
    answer = received.answer
    if answer.status in expected if expected is not None else 200 <= answer.status < 300:
        return answer
    where = f"{url.scheme}://{url.netloc.decode()}{url.path}"
    code = f"http-{answer.status}"
    if 300 <= answer.status < 400:
        raise PermanentError(
            f"{where} answered {answer.status}, a redirect to {received.location or 'nowhere'}, and redirects are "
            "not followed: use that address",
            code=code,
        )
    said = answer.body[: 4 * _SHOWN_CHARS].decode(errors="replace").strip()[:_SHOWN_CHARS]
    message = f"{where} answered {answer.status}" + (f": {said}" if said else "")
    if answer.status >= 500 or answer.status in _PASSING_STATUSES:
        raise SatelliteError(message, code=code)
    raise PermanentError(message, code=code)


def _not_sent(error: httpx.HTTPError | TimeoutError, url: httpx.URL, timeout_s: float) -> SatelliteError:
    import httpx

    where = f"{url.scheme}://{url.netloc.decode()}{url.path}"
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return SatelliteError(f"{where} did not answer within {timeout_s:g} s", code="http-timeout")
    if type(error).__name__ in _MALFORMED:
        return PermanentError(f"the request to {where} cannot be sent: {error}", code="bad-request")
    return SatelliteError(f"{where} cannot be reached: {error or type(error).__name__}", code="http-unreachable")
