"""A limit on everything, in one place. Units come last in a name. Only constants live here."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# The cluster file.
SPEC_MAX_BYTES: Final = 1 * MIB
SPEC_MAX_DEPTH: Final = 64
SPEC_MAX_NODES: Final = 100_000  # counted after aliases are expanded: an alias bomb is over it
SPEC_MAX_STEPS: Final = 500
SPEC_MAX_TRIGGERS: Final = 100

# Objects, results, blobs.
OBJECT_INLINE_MAX_BYTES: Final = 4 * KIB  # a larger object goes to the blob store and is referenced
RESULT_INLINE_MAX_BYTES: Final = 64 * KIB  # all inline objects of one result; above it they go into pages
RESULT_PAGE_MAX_OBJECTS: Final = 1_000
OBJECT_MAX_BYTES: Final = 64 * MIB
BLOB_MAX_BYTES: Final = 4 * GIB
BLOB_CHUNK_BYTES: Final = 256 * KIB

# The wire.
GRPC_MESSAGE_MAX_BYTES: Final = 16 * MIB
ERROR_MESSAGE_MAX_CHARS: Final = 4_000
LOG_LINE_MAX_CHARS: Final = 8_000
WEBHOOK_MAX_BYTES: Final = 1 * MIB
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000

# etcd.
ETCD_VALUE_MAX_BYTES: Final = 1 * MIB
ETCD_TXN_MAX_OPS: Final = 100
JOURNAL_BATCH_MAX_BYTES: Final = 512 * KIB
JOURNAL_BATCH_MAX_EVENTS: Final = 2_000
LEASE_TTL_S: Final = 5

# Runs.
RETRIES_MAX: Final = 100
FAN_OUT_WINDOW: Final = 256  # children of one parent that exist before capacity asks for more
POISON_AGENT_LOSSES: Final = 3
DATA_LOST_AFTER_MS: Final = 60_000  # inputs that no machine has had for so long are taken for lost
MISSING_INPUTS_RETRY_MS: Final = 5_000
CLUSTER_VERSIONS_MAX: Final = 100
RUN_SLA_MAX_MS: Final = 366 * 24 * 3_600_000

# Batches of requests (`orbit batch`).
BATCH_LINE_MAX_BYTES: Final = 4 * MIB
BATCH_PAGE_MAX_BYTES: Final = 1 * MIB  # a page ends with the line that passes it
BATCH_PAGE_MIN_LINES: Final = 16  # the first pages are small, so that a short file keeps several agents busy
BATCH_PAGE_MAX_LINES: Final = 256  # what an attempt that is lost has to do again
BATCH_SECTION_PAGES: Final = 256  # pages that one result lists: each is a blob that a journal record names
BATCH_ID_MAX_CHARS: Final = 512
BATCH_WINDOW_MIN_MS: Final = 10 * 60_000
BATCH_WINDOW_MAX_MS: Final = 7 * 24 * 3_600_000
