"""Which addresses a satellite's request may go to: global ones only, unless the mesh allows private ones.

Whoever writes a cluster file could otherwise reach what only the agent's machine can: a cloud's metadata service,
databases without a password, other agents. Nothing here opens a connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from satellites.contract import PermanentError, SatelliteError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: IPv6 addresses that carry an IPv4 address for a translator on the way.
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def is_allowed(address: Address) -> bool:
    """True for addresses of the public internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inside is not None:
            return is_allowed(inside)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of `host`, each of which may be connected to. Connect to these, never to the name again.

    Raises `PermanentError` if any of them is not allowed: a name that leads both ways is not to be trusted.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SatelliteError(f"the name {host!r} cannot be resolved: {error}", code="http-unreachable") from error
    addresses = list(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found))
    if not addresses:
        raise SatelliteError(f"the name {host!r} has no address", code="http-unreachable")
    if not allow_private:
        refused = [address for address in addresses if not is_allowed(ipaddress.ip_address(address))]
        if refused:
            raise PermanentError(
                f"{host} is at {refused[0]}, which is not an address of the public internet: requests to it are "
                "refused unless the mesh allows private addresses",
                code="address-not-allowed",
            )
    return addresses


async def refuse_private(url: str) -> None:
    """For clients that resolve names themselves. Raises as `resolve` does."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise PermanentError(f"{url!r} is not an http or https URL", code="bad-url")
    await resolve(parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme], allow_private=False)
