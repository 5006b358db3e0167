"""Objects that appear in buckets start runs: `s3-upload` triggers, by listing what is there again and again.

An object's key, ETag and time of upload make its run, so that a listing that is repeated, and a new leader, start
nothing twice; what was uploaded before the cluster was first submitted, or while it was disabled, starts nothing at
all. (A cluster that has a cron trigger too makes up for what was uploaded while it was disabled: its ticks hide when
that was.) Whoever deletes the run of an object that still lies in the bucket lets it run again under the next leader.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from orbit_coordinator.specs import Spec, SpecStore
from orbit_coordinator.triggers import Starter, run_id_of
from orbit_coordinator.vault import Secrets
from orbit_core.clock import Clock
from orbit_core.errors import LimitError, OrbitError, PermissionError_, PreconditionError
from orbit_core.sched.state import ClusterEntry
from orbit_core.spec.models import CronTrigger, S3UploadTrigger

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
#: Of the time, at most this share goes into listing: a bucket that takes long is looked at less often.
_LISTING_SHARE: Final = 0.1
OBJECTS_MAX: Final = 200_000
_CONNECT_S: Final = 5
_READ_S: Final = 30


#: A cluster's identifier, and the trigger as text: it may have several.
_Watched = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Upload:
    """One object as a listing shows it. `modified_ms` is S3's own time, in whole seconds."""

    key: str
    etag: str
    size_bytes: int
    modified_ms: int


class Uploads:
    """Fires the s3-upload triggers of one term."""

    def __init__(
        self, starter: Starter, specs: SpecStore, secrets: Secrets, clock: Clock, *, allow_private_addresses: bool
    ) -> None:
        self._starter = starter
        self._specs = specs
        self._secrets = secrets
        self._clock = clock
        self._allow_private_addresses = allow_private_addresses
        #: What lies in a bucket and has had its run.
        self._started: dict[_Watched, set[str]] = {}
        #: Why a bucket cannot be read, as it was said last.
        self._failing: dict[_Watched, str] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began_s = self._clock.monotonic_s()
            await self.look()
            took_s = self._clock.monotonic_s() - began_s
            await self._clock.sleep(max(LOOK_EVERY_S, took_s / _LISTING_SHARE))

    async def look(self) -> None:
        """Looks into every bucket that is watched, once. One that cannot be read does not keep it from the others."""
        clusters = self._starter.leader.state.clusters
        for gone in [watched for watched in self._started if watched[0] not in clusters]:
            del self._started[gone]
        for entry in [entry for entry in clusters.values() if entry.enabled]:
            spec = await self._specs.get(entry.spec_hash)
            for trigger in spec.cluster.triggers:
                if isinstance(trigger, S3UploadTrigger):
                    await self._watch(entry, spec, trigger)

    async def _watch(self, entry: ClusterEntry, spec: Spec, trigger: S3UploadTrigger) -> None:
        watched = (entry.identifier, trigger.model_dump_json())
        try:
            secrets = await self._secrets.of(spec.cluster, list(trigger.secrets.values()))
            if trigger.endpoint_url is not None and not self._allow_private_addresses:
                await _refuse_private(trigger.endpoint_url)
            keys = {name: secrets[vault_name] for name, vault_name in trigger.secrets.items()}
            found = await asyncio.to_thread(lambda: list(_listed(trigger, keys)))
        except OrbitError as error:
            self._say(watched, str(error))
            return
        except Exception as error:  # whatever botocore raises; its messages name no secret
            self._say(watched, f"{type(error).__name__}: {error}")
            return
        self._failing.pop(watched, None)
        # At the first look of a term all that lies in the bucket is new to it, and most of it has had its run.
        known = frozenset[str]() if watched in self._started else await self._starter.known()
        started = self._started.get(watched, set())
        self._started[watched] = await self._start(_from_ms(entry, spec), spec, trigger, found, started, known)

    async def _start(
        self,
        from_ms: int,
        spec: Spec,
        trigger: S3UploadTrigger,
        found: list[Upload],
        started: Set[str],
        known: Set[str],
    ) -> set[str]:
        """Starts a run for each upload that has had none; those of `found` that have one now."""
        have: set[str] = set()
        for upload in sorted(found, key=lambda each: (each.modified_ms, each.key)):
            name = f"{trigger.bucket}/{upload.key}@{upload.etag}@{upload.modified_ms}"
            if upload.modified_ms < from_ms:
                continue
            if name not in started and run_id_of(spec.cluster.identifier, "s3-upload", name) not in known:
                await self._starter.start(spec, "s3-upload", name, _told_of(trigger, upload))
            have.add(name)
        return have

    def _say(self, watched: _Watched, problem: str) -> None:
        """Once for each problem, not at every look."""
        if self._failing.get(watched) != problem:
            self._failing[watched] = problem
            log.warning("the bucket that %s waits for cannot be watched: %s", watched[0], problem)


def _from_ms(entry: ClusterEntry, spec: Spec) -> int:
    """From when on uploads count: the cluster's first submission, or when it was last enabled. In whole seconds."""
    from_ms = min([entry.submitted_ms, *(each.submitted_ms for each in entry.earlier)])
    if not any(isinstance(trigger, CronTrigger) for trigger in spec.cluster.triggers):
        from_ms = max(from_ms, entry.last_tick_ms)
    return from_ms // 1000 * 1000


def _told_of(trigger: S3UploadTrigger, upload: Upload) -> dict[str, Any]:
    return {
        "bucket": trigger.bucket,
        "key": upload.key,
        "size": upload.size_bytes,
        "etag": upload.etag,
        "uri": f"s3://{trigger.bucket}/{upload.key}",
    }


def _listed(trigger: S3UploadTrigger, secrets: dict[str, str]) -> Iterator[Upload]:
    """Blocks: call it on a thread."""
    from boto3.session import Session  # slow to import, and only wanted where a bucket is watched
    from botocore import UNSIGNED
    from botocore.config import Config

    custom = trigger.endpoint_url is not None
    session = Session(
        aws_access_key_id=secrets.get("AWS_ACCESS_KEY"),
        aws_secret_access_key=secrets.get("AWS_SECRET_KEY"),
        aws_session_token=secrets.get("AWS_SESSION_TOKEN"),
        region_name=trigger.region or "us-east-1",
    )
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "total_max_attempts": 3},
        s3={"addressing_style": "path"} if custom else {},
        # Never with what this machine itself may read: whose cluster it is has to bring keys, or the bucket is open.
        signature_version=None if "AWS_ACCESS_KEY" in secrets else UNSIGNED,
    )
    client: Any = session.client("s3", endpoint_url=trigger.endpoint_url, config=config)
    try:
        seen = 0
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=trigger.bucket, Prefix=trigger.prefix):
            for entry in page.get("Contents", ()):
                seen += 1
                if entry["Key"].endswith(trigger.suffix) and not entry["Key"].endswith("/"):
                    modified_ms = round(entry["LastModified"].timestamp() * 1000)
                    yield Upload(entry["Key"], entry["ETag"].strip('"'), entry["Size"], modified_ms)
            if seen > OBJECTS_MAX:
                raise LimitError(
                    f"more than {OBJECTS_MAX} objects lie below {trigger.bucket}/{trigger.prefix}",
                    remedy="name a narrower prefix, or have what is done moved away",
                )
    finally:
        client.close()


async def _refuse_private(url: str) -> None:
    """PermissionError_ for an endpoint that is not on the public internet, as satellites refuse it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PreconditionError(f"{url!r} is not an http or https URL")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise PreconditionError(f"the name {parts.hostname!r} cannot be resolved: {error}") from error
    for info in found:
        address = ipaddress.ip_address(str(info[4][0]).partition("%")[0])
        if not address.is_global or address.is_multicast:
            raise PermissionError_(
                f"{parts.hostname} is at {address}, which is not an address of the public internet",
                remedy="a mesh that may reach such addresses is started with --allow-private-addresses",
            )
