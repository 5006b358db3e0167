"""The etcd client: `EtcdStore` and its `EtcdConfig`. Thin: calls, failover, watches that resume, leases kept alive.

Nothing here knows what Orbit stores.
"""

from orbit_core.store.etcd.client import EtcdStore
from orbit_core.store.etcd.config import EtcdConfig

__all__ = ["EtcdConfig", "EtcdStore"]
