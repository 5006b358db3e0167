"""S3 as the storage satellites use it: a client from config and secrets, and errors that say what to do.

Every outcome of a call to S3 that a person may meet is translated here and nowhere else. boto3 is imported when a
client is made, since it costs a third of a second.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from satellites.contract import Context, PermanentError, SatelliteError
from satellites.http import addresses

T = TypeVar("T")

_DENIED: Final = frozenset(
    {
        "AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
        "InvalidToken", "TokenRefreshRequired", "AccountProblem", "AllAccessDisabled", "UnauthorizedAccess",
    }
)  # fmt: skip
_THROTTLED: Final = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "BandwidthLimitExceeded",
    }
)
_WRONG_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "IllegalLocationConstraint"}
)
_PASSING: Final = frozenset(
    {"RequestTimeout", "RequestTimeTooSkewed", "OperationAborted", "ConditionalRequestConflict"}
)
MISSING_KEY: Final = "s3-no-such-key"

_CONNECT_TIMEOUT_S: Final = 10
_READ_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Location:
    """Where a bucket is and with which of a step's secrets it is opened."""

    bucket: str
    endpoint_url: str | None
    region: str | None
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(repr=False)

    @classmethod
    def of(
        cls,
        bucket: str,
        *,
        endpoint_url: str | None,
        region: str | None,
        secrets: Mapping[str, str],
        secret_prefix: str = "",
    ) -> Location:
        """`secret_prefix`: `ORIGIN_` where a step has two sides; names without it stand in where one is missing."""

        def secret(name: str) -> str | None:
            return secrets.get(f"{secret_prefix}{name}") or secrets.get(name)

        access_key, secret_key = secret("AWS_ACCESS_KEY"), secret("AWS_SECRET_KEY")
        if not access_key or not secret_key:
            names = f"{secret_prefix}AWS_ACCESS_KEY and {secret_prefix}AWS_SECRET_KEY"
            raise PermanentError(f"name the secrets {names} under config.secrets of this step", code="missing-secret")
        return cls(bucket, endpoint_url, region, access_key, secret_key, secret("AWS_SESSION_TOKEN"))

    def same_account(self, other: Location) -> bool:
        """Whether one client can reach both."""
        mine = (self.endpoint_url, self.region, self.access_key, self.session_token)
        return mine == (other.endpoint_url, other.region, other.access_key, other.session_token)

    def uri(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"


class Bucket:
    """A bucket with its client. boto3 blocks: each call runs in a thread. Use `open`."""

    def __init__(self, location: Location, client: Any) -> None:
        self.location = location
        self.client = client

    @classmethod
    async def open(cls, location: Location, context: Context) -> Bucket:
        if location.endpoint_url is not None and not context.allow_private_addresses:
            await addresses.refuse_private(location.endpoint_url)
        return cls(location, await asyncio.to_thread(_client, location))

    async def call(self, action: str, key: str | None, function: Callable[[], T]) -> T:
        """Runs `function` in a thread; `action` and `key` say in an error what was tried on what."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await asyncio.to_thread(function)
        except ClientError as error:
            raise _translated(error.response, action, self.location, key) from error
        except (BotoCoreError, Boto3Error) as error:
            raise _unreachable(error, action, self.location) from error

    async def size_of(self, key: str) -> int | None:
        """Bytes of the object, None where there is none."""
        try:
            head = await self.call(
                "look up", key, lambda: self.client.head_object(Bucket=self.location.bucket, Key=key)
            )
        except SatelliteError as error:
            if error.code == MISSING_KEY:
                return None
            raise
        return head["ContentLength"]

    async def delete(self, key: str) -> None:
        """Done also when there was none: S3 does not tell the two apart."""
        await self.call("delete", key, lambda: self.client.delete_object(Bucket=self.location.bucket, Key=key))

    async def download(self, key: str, target: Path) -> Mapping[str, Any]:
        """The object into `target`; gives the response's `ETag`, `ContentLength` and `ContentType`.

        Cancelled, it ends when its thread has, which reads no further chunk: nobody writes `target` any more.
        """
        stopped = threading.Event()

        def fetch() -> Mapping[str, Any]:
            response = self.client.get_object(Bucket=self.location.bucket, Key=key)
            # Not `with body`: that gives the stream beneath it, which neither counts bytes nor has chunks.
            with closing(response["Body"]) as body, target.open("wb") as file:
                for chunk in body.iter_chunks(1024 * 1024):
                    if stopped.is_set():
                        break
                    file.write(chunk)
            return response

        fetching = asyncio.ensure_future(self.call("read", key, fetch))
        try:
            return await asyncio.shield(fetching)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.wait([fetching])
            raise

    async def upload(self, source: Path, key: str) -> None:
        await self.call("write", key, lambda: self.client.upload_file(str(source), self.location.bucket, key))


@functools.lru_cache(maxsize=8)
def _client(location: Location) -> Any:
    """Kept, since making one takes longer than most calls. A process serves one cluster only, so no other's secrets
    are kept with it."""
    from boto3.session import Session
    from botocore.config import Config

    custom = location.endpoint_url is not None
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        # A few quick tries against a blip; patience is the step's retry policy.
        retries={"mode": "standard", "total_max_attempts": 3},
        # What speaks like S3 often has neither a name for each bucket nor the newer checksums.
        s3={"addressing_style": "path"} if custom else {},
        request_checksum_calculation="when_required" if custom else "when_supported",
        response_checksum_validation="when_required" if custom else "when_supported",
    )
    session = Session(
        aws_access_key_id=location.access_key,
        aws_secret_access_key=location.secret_key,
        aws_session_token=location.session_token,
        region_name=location.region or "us-east-1",
    )
    return session.client("s3", endpoint_url=location.endpoint_url, config=config)


def _translated(response: Mapping[str, Any], action: str, location: Location, key: str | None) -> SatelliteError:
    code = str(response.get("Error", {}).get("Code", ""))
    detail = str(response.get("Error", {}).get("Message", "")).strip()
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    what = f"S3 refuses to {action} {location.uri(key or '')}"
    if code in _DENIED:
        return PermanentError(
            f"{what}: {code}: {detail or 'access denied'}. Check the step's AWS_ACCESS_KEY and AWS_SECRET_KEY, and "
            f"that they may {action} objects of the bucket {location.bucket}",
            code="s3-access-denied",
        )
    if code == "NoSuchBucket":
        return PermanentError(
            f"there is no bucket {location.bucket!r} at {location.endpoint_url or 'AWS'}: check config.bucket",
            code="s3-no-such-bucket",
        )
    if code in ("NoSuchKey", "404", "NotFound"):
        return PermanentError(f"there is no object {location.uri(key or '')}", code=MISSING_KEY)
    if code in _WRONG_REGION:
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "its own"
        return PermanentError(
            f"the bucket {location.bucket} lies in another region: set config.region to {region}",
            code="s3-wrong-region",
        )
    if code in _THROTTLED or status == 429:
        return SatelliteError(f"{what} for now: {code}: {detail}", code="s3-throttled")
    if status >= 500 or code in _PASSING:
        return SatelliteError(f"{what} for now: {code or status}: {detail}", code="s3-unavailable")
    return PermanentError(f"{what}: {code or status}: {detail}", code="s3-refused")


def _unreachable(error: Exception, action: str, location: Location) -> SatelliteError:
    from botocore.exceptions import ClientError, ParamValidationError

    if isinstance(error, ParamValidationError | ValueError):
        return PermanentError(f"S3 cannot be asked to {action}: {error}", code="s3-refused")
    # A managed transfer reports the refusal behind it as its cause.
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ClientError):
        return _translated(cause.response, action, location, None)
    return SatelliteError(f"S3 at {location.endpoint_url or 'AWS'} cannot be reached: {error}", code="s3-unreachable")
