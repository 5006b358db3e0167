"""Options of Orbit's gRPC channels and servers, which must fit each other. Only constants live here.

A peer that vanishes without a word (power, network) is noticed by keepalive, on both sides; a server that has not
been told to bear the client's pings answers them with GOAWAY. A channel to an address where nobody listens yet
tries again within two seconds, not after gRPC's own two minutes: leaders come back.
"""

from __future__ import annotations

from typing import Final

from orbit_core.limits import GRPC_MESSAGE_MAX_BYTES

_KEEPALIVE_MS: Final = 10_000

_BOTH: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.max_send_message_length", GRPC_MESSAGE_MAX_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)

CHANNEL_OPTIONS: Final = (
    *_BOTH,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # despite its name: how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)

SERVER_OPTIONS: Final = (
    *_BOTH,
    ("grpc.http2.min_recv_ping_interval_without_data_ms", _KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
    # Two coordinators on one port by accident: an error at the start, not half of the calls each.
    ("grpc.so_reuseport", 0),
)
