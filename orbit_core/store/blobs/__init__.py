"""Blobs: objects too large for etcd, named by the SHA-256 of their bytes. One protocol, four homes for them.

`LocalBlobs` on disk, `S3Blobs`, `PeerBlobs` (local, filled from other machines), `MemoryBlobs` for tests.
How many copies an object needs, and who references it, is not decided here.
"""

from orbit_core.store.blobs.api import (
    BlobDamagedError,
    BlobInfo,
    BlobMissingError,
    BlobSource,
    BlobStore,
    BlobUnreachableError,
    read_blob,
)
from orbit_core.store.blobs.local import LocalBlobs
from orbit_core.store.blobs.memory import MemoryBlobs
from orbit_core.store.blobs.peer import PeerBlobs
from orbit_core.store.blobs.s3 import S3Blobs

__all__ = [
    "BlobDamagedError",
    "BlobInfo",
    "BlobMissingError",
    "BlobSource",
    "BlobStore",
    "BlobUnreachableError",
    "LocalBlobs",
    "MemoryBlobs",
    "PeerBlobs",
    "S3Blobs",
    "read_blob",
]
