"""The coordinator's settings, from its command line."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orbit_core.limits import LEASE_TTL_S
from orbit_core.spec.capacity_file import CapacityFile, read_capacity
from orbit_core.store.blobs.home import BlobHome
from orbit_core.store.keys import DEFAULT_PREFIX


@dataclass(frozen=True, slots=True)
class CoordinatorConfig:
    """What one coordinator is told at its start."""

    etcd: tuple[str, ...]
    listen: str
    advertise: str | None
    data: Path
    id: str
    master_key_file: Path
    prefix: str
    lease_ttl_s: int
    allow_private_addresses: bool
    http: str | None
    blobs: BlobHome | None = None
    capacity: CapacityFile | None = None
    capacity_ends_here: bool = False


def parse(arguments: Sequence[str] | None = None) -> CoordinatorConfig:
    """From `sys.argv` or the given words; ends the process with usage on bad ones."""
    parser = argparse.ArgumentParser(
        prog="python -m orbit_coordinator", description="A candidate for the lead of an Orbit mesh."
    )
    parser.add_argument("--etcd", default=os.environ.get("ORBIT_ETCD_ENDPOINTS", "http://127.0.0.1:2379"))
    parser.add_argument("--listen", default="127.0.0.1:0", help="for clients and agents; port 0: any free one")
    parser.add_argument("--advertise", metavar="HOST[:PORT]", help="what others reach this by, if not --listen")
    parser.add_argument("--data", type=Path, required=True, help="blobs and logs")
    parser.add_argument("--id", default=socket.gethostname().lower())
    parser.add_argument("--master-key-file", type=Path, help="seals the vault; the same for every coordinator")
    parser.add_argument("--prefix", default=DEFAULT_PREFIX, help="the key prefix of the mesh in etcd")
    parser.add_argument("--lease-ttl", type=int, default=LEASE_TTL_S, metavar="SECONDS")
    parser.add_argument(
        "--allow-private-addresses",
        action="store_true",
        help="satellites may send requests to loopback and private addresses",
    )
    parser.add_argument("--http", metavar="HOST:PORT", help="where webhooks are taken; nowhere unless said")
    parser.add_argument(
        "--blobs",
        default=os.environ.get("ORBIT_BLOBS", ""),
        metavar="s3://BUCKET/PREFIX",
        help="where the mesh keeps its blobs for good; said once for a mesh. On two machines unless said",
    )
    parser.add_argument(
        "--blobs-endpoint", default=os.environ.get("ORBIT_BLOBS_ENDPOINT", ""), metavar="URL", help="without it, AWS"
    )
    parser.add_argument("--blobs-region", default=os.environ.get("ORBIT_BLOBS_REGION", ""), metavar="REGION")
    parser.add_argument(
        "--capacity", type=Path, metavar="FILE", help="machines that may be bought for runs (docs/capacity.md)"
    )
    parser.add_argument(
        "--capacity-ends-here",
        action="store_true",
        help="stop what was bought with this coordinator: the mesh ends too",
    )
    given = parser.parse_args(arguments)
    return CoordinatorConfig(
        etcd=tuple(filter(None, given.etcd.split(","))),
        listen=given.listen,
        advertise=given.advertise,
        data=given.data,
        id=given.id,
        master_key_file=given.master_key_file or given.data / "master.key",
        prefix=given.prefix,
        lease_ttl_s=given.lease_ttl,
        allow_private_addresses=given.allow_private_addresses,
        http=given.http,
        blobs=BlobHome(given.blobs, given.blobs_endpoint, given.blobs_region) if given.blobs else None,
        capacity=read_capacity(given.capacity) if given.capacity else None,
        capacity_ends_here=given.capacity_ends_here,
    )
