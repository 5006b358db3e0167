"""Requests reach the public internet only, unless the mesh says otherwise."""

from __future__ import annotations

import ipaddress

import pytest

from satellites.contract import PermanentError, SatelliteError
from satellites.http import addresses

REFUSED = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    "2001:0:53aa:64c:0:0:80ff:ff01",
]  # fmt: skip
ALLOWED = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not addresses.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_are_allowed(address: str) -> None:
    assert addresses.is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0", "2130706433", "0x7f.1"])
async def test_a_name_is_judged_by_where_it_leads(host: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await addresses.resolve(host, 80, allow_private=False)
    assert caught.value.code == "address-not-allowed"


async def test_a_mesh_may_allow_private_addresses() -> None:
    assert "127.0.0.1" in await addresses.resolve("127.0.0.1", 80, allow_private=True)


async def test_a_name_that_does_not_exist_may_exist_later() -> None:
    with pytest.raises(SatelliteError) as caught:
        await addresses.resolve("no-such-host.invalid", 80, allow_private=False)
    assert caught.value.code == "http-unreachable"
    assert not isinstance(caught.value, PermanentError)


@pytest.mark.parametrize("url", ["ftp://8.8.8.8/", "http:///x", "8.8.8.8", "file:///etc/passwd"])
async def test_only_http_urls_are_looked_at(url: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await addresses.refuse_private(url)
    assert caught.value.code == "bad-url"
