"""How etcd is reached: endpoints, TLS, credentials, deadlines, and the channel options that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from orbit_core.errors import InvalidRequestError
from orbit_core.limits import GIB, GRPC_MESSAGE_MAX_BYTES

#: etcd allows pings every 5 s; a connection that is cut without a word is noticed within 15 s.
CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),  # a watch may be silent for hours
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each channel has connections of its own: a large read must not hold up the renewal of a lease.
    ("grpc.use_local_subchannel_pool", 1),
    # etcd is reached directly: a proxy that the environment names is for the world outside.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """`endpoints`: `host:port`, or with `http://` or `https://` before it. TLS where `ca_path` is given."""

    endpoints: tuple[str, ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_path: Path | None = None
    cert_path: Path | None = None
    key_path: Path | None = None
    request_timeout_s: float = 5.0
    #: A read goes on to the next member after this long without an answer.
    read_attempt_timeout_s: float = 2.0
    maintenance_timeout_s: float = 60.0
    #: What etcd was started with (`--quota-backend-bytes`): etcd itself does not tell.
    quota_bytes: int = 2 * GIB

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidRequestError("no etcd endpoint is given", remedy="name at least one host:port")
        if (self.cert_path is None) != (self.key_path is None):
            raise InvalidRequestError("a client certificate for etcd needs both cert_path and key_path")
        if self.ca_path is None and any(endpoint.startswith("https://") for endpoint in self.endpoints):
            raise InvalidRequestError("an https:// etcd endpoint needs ca_path")

    @property
    def targets(self) -> tuple[str, ...]:
        """The endpoints as gRPC wants them, without a scheme."""
        return tuple(
            endpoint.removeprefix("http://").removeprefix("https://").rstrip("/") for endpoint in self.endpoints
        )

    def credentials(self) -> grpc.ChannelCredentials | None:
        """TLS credentials, read anew (certificates are replaced while a process runs); `None` for plain text."""
        if self.ca_path is None:
            return None
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca_path.read_bytes(),
            private_key=self.key_path.read_bytes() if self.key_path else None,
            certificate_chain=self.cert_path.read_bytes() if self.cert_path else None,
        )
