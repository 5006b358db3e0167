"""Where a mesh keeps its blobs for good, if it has such a place: a bucket that all of its machines reach.

A home is said once for a mesh, at a coordinator, and stands in etcd: each leader has to find what the last one put
there. Credentials are each machine's own (what boto3 finds: the environment, a profile, the instance's role), and are
neither written down nor told to anybody. What is put there, and when, is not decided here.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from orbit_core.errors import FieldViolation, InvalidRequestError, PreconditionError
from orbit_core.store.api import Compare, Put, Store
from orbit_core.store.blobs.api import BlobUnreachableError
from orbit_core.store.blobs.s3 import S3Blobs
from orbit_core.store.keys import Keys

_URI: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_CONNECT_S: Final = 5
_READ_S: Final = 30
#: Blobs come and go side by side; each takes a connection while it does.
_CONNECTIONS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class BlobHome:
    """`uri`: s3://bucket/prefix. `endpoint_url`: of what speaks like S3; empty: AWS. `region`: empty: the machine's."""

    uri: str
    endpoint_url: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        found = _URI.fullmatch(self.uri)
        if found is None or "//" in (found[2] or ""):
            raise InvalidRequestError(
                f"{self.uri!r} is no place for blobs",
                violations=[FieldViolation("--blobs", "s3://BUCKET or s3://BUCKET/PREFIX is expected")],
                remedy="write it like s3://my-bucket/orbit",
            )
        if self.endpoint_url and not self.endpoint_url.startswith(("http://", "https://")):
            raise InvalidRequestError(
                f"{self.endpoint_url!r} is no endpoint",
                violations=[FieldViolation("--blobs-endpoint", "an http or https URL is expected")],
                remedy="write it like https://minio.example.com:9000",
            )

    @property
    def bucket(self) -> str:
        return self.uri.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """Of the keys in the bucket: empty, or with a slash at its end."""
        prefix = self.uri.removeprefix("s3://").partition("/")[2].strip("/")
        return f"{prefix}/" if prefix else ""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> BlobHome:
        return cls(**json.loads(data))

    def __str__(self) -> str:
        return f"{self.uri} at {self.endpoint_url}" if self.endpoint_url else self.uri


async def open_home(home: BlobHome) -> S3Blobs:
    """The home's blobs, once it has shown that it is there and takes some. PreconditionError where it does not."""
    blobs = S3Blobs(await asyncio.to_thread(_client, home), home.bucket, home.prefix)
    try:
        await blobs.check()
    except BlobUnreachableError as error:
        raise PreconditionError(
            f"blobs cannot be kept in {home}: {error.message}",
            remedy="the bucket has to exist, and this machine needs credentials (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile, or a role) that may get, put, delete and list its objects",
        ) from error
    return blobs


async def settle(store: Store, keys: Keys, wanted: BlobHome | None) -> tuple[BlobHome, S3Blobs] | None:
    """The home of the mesh, open: what etcd says, or what is `wanted` where it says nothing yet. StoreError.

    PreconditionError where it cannot be used, and where this coordinator is started with another home than the mesh
    has: what lies in the one could not be found in the other.
    """
    # Before it is written down: nobody is to be bound to a bucket that is not there.
    blobs = await open_home(wanted) if wanted is not None else None
    if wanted is not None:
        await store.txn(compare=[Compare.absent(keys.blob_home())], success=[Put(keys.blob_home(), wanted.encode())])
    found = await store.get(keys.blob_home())
    if found is None:
        return None
    agreed = BlobHome.decode(found.value)
    if wanted is not None and _place(agreed) != _place(wanted):
        raise PreconditionError(
            f"this mesh keeps its blobs in {agreed}, not in {wanted}",
            remedy="leave --blobs out, or say the same; docs/blobs.md says how a mesh moves to another bucket",
        )
    return wanted or agreed, blobs or await open_home(agreed)


def _place(home: BlobHome) -> tuple[str, str, str]:
    return home.bucket, home.prefix, home.endpoint_url


def _client(home: BlobHome) -> Any:
    """Blocks, and is slow: boto3 is imported."""
    from boto3.session import Session  # pyright: ignore[reportMissingTypeStubs]
    from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

    custom = bool(home.endpoint_url)
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        # A few quick tries against a blip; patience is the caller's.
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=_CONNECTIONS_MAX,
        # What speaks like S3 often has neither a name for each bucket nor the newer checksums.
        s3={"addressing_style": "path"} if custom else {},
        request_checksum_calculation="when_required" if custom else "when_supported",
        response_checksum_validation="when_required" if custom else "when_supported",
    )
    session: Any = Session(region_name=home.region or None)  # boto3 has no types
    region = session.region_name or "us-east-1"
    return session.client("s3", endpoint_url=home.endpoint_url or None, region_name=region, config=config)
