"""Where things lie in the store: builders and parsers of keys, and nothing else.

<prefix>/election/leader                          the leader, under its lease; its create-revision is the epoch
<prefix>/agents/<agent id>                        what an agent advertises, under its lease
<prefix>/coordinators/<coordinator id>            where a candidate can be reached, under its lease
<prefix>/journal/<seq, 20 digits>                 one batch of events
<prefix>/snapshot/manifest/<seq, 20 digits>       names the parts of a snapshot; written last
<prefix>/snapshot/turn                            whose turn it is to write a snapshot: the latest to begin one
<prefix>/snapshot/part/<sha256>/<chunk, 5 digits> a part of a snapshot, named by its content
<prefix>/specs/<sha256>                           a cluster's spec
<prefix>/vault/…                                  sealed secrets and the keys that seal them
<prefix>/tokens/<sha256>                          who may call
<prefix>/archive/<run id>                         the summary of an ended run
<prefix>/models/<name>                            a model: its source, and what it is pinned to
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from orbit_core.errors import InvalidRequestError
from orbit_core.store.api import prefix_end

DEFAULT_PREFIX: Final = "/orbit/v1"
SEQ_DIGITS: Final = 20
CHUNK_DIGITS: Final = 5

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True, slots=True)
class KeyRange:
    """`[start, end)`."""

    start: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """The key space of one mesh. Several meshes may share an etcd under different prefixes."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidRequestError(
                f"{self.prefix!r} is not a key prefix", remedy="use one like /orbit/v1, without a slash at its end"
            )

    def everything(self) -> KeyRange:
        return self._under()

    def leader(self) -> bytes:
        return self._key("election", "leader")

    def agent(self, agent_id: str) -> bytes:
        return self._key("agents", _segment(agent_id))

    def agents(self) -> KeyRange:
        return self._under("agents")

    def agent_id(self, key: bytes) -> str:
        return self._last(key, "agents")

    def coordinator(self, coordinator_id: str) -> bytes:
        return self._key("coordinators", _segment(coordinator_id))

    def coordinators(self) -> KeyRange:
        return self._under("coordinators")

    def blob_home(self) -> bytes:
        return self._key("blobs", "home")

    def journal(self, seq: int) -> bytes:
        return self._key("journal", _digits(seq, SEQ_DIGITS))

    def journal_from(self, seq: int) -> KeyRange:
        """All records from `seq` on."""
        return KeyRange(self.journal(seq), self._under("journal").end)

    def journal_seq(self, key: bytes) -> int:
        return int(self._last(key, "journal"))

    def snapshot_turn(self) -> bytes:
        return self._key("snapshot", "turn")

    def manifest(self, seq: int) -> bytes:
        return self._key("snapshot", "manifest", _digits(seq, SEQ_DIGITS))

    def manifests(self) -> KeyRange:
        return self._under("snapshot", "manifest")

    def manifest_seq(self, key: bytes) -> int:
        return int(self._last(key, "snapshot", "manifest"))

    def part_chunk(self, sha256: str, index: int) -> bytes:
        return self._key("snapshot", "part", _segment(sha256), _digits(index, CHUNK_DIGITS))

    def part(self, sha256: str) -> KeyRange:
        return self._under("snapshot", "part", _segment(sha256))

    def parts(self) -> KeyRange:
        return self._under("snapshot", "part")

    def part_of_chunk(self, key: bytes) -> tuple[str, int]:
        """The hash of the part and the number of the chunk that `key` holds."""
        sha256, _, index = self._rest(key, "snapshot", "part").partition("/")
        return sha256, int(index)

    def spec(self, sha256: str) -> bytes:
        return self._key("specs", _segment(sha256))

    def specs(self) -> KeyRange:
        return self._under("specs")

    def token(self, sha256: str) -> bytes:
        return self._key("tokens", _segment(sha256))

    def tokens(self) -> KeyRange:
        return self._under("tokens")

    def archived(self, run_id: str) -> bytes:
        return self._key("archive", _segment(run_id))

    def archive(self) -> KeyRange:
        return self._under("archive")

    def run_id(self, key: bytes) -> str:
        return self._last(key, "archive")

    def model(self, name: str) -> bytes:
        return self._key("models", _segment(name))

    def models(self) -> KeyRange:
        return self._under("models")

    def model_name(self, key: bytes) -> str:
        return self._last(key, "models")

    def vault_key(self, project: str, key_id: str) -> bytes:
        return self._key("vault", _segment(project), "keys", _segment(key_id))

    def vault_current(self, project: str) -> bytes:
        return self._key("vault", _segment(project), "current")

    def vault_secret(self, project: str, cluster: str, name: str) -> bytes:
        """`cluster` is empty for a secret of the whole project."""
        return self._key("vault", _segment(project), "secrets", _segment(cluster) if cluster else "-", _segment(name))

    def vault_keys(self, project: str) -> KeyRange:
        return self._under("vault", _segment(project), "keys")

    def vault_secrets(self, project: str) -> KeyRange:
        return self._under("vault", _segment(project), "secrets")

    def vault(self) -> KeyRange:
        """Everything of every project."""
        return self._under("vault")

    def vault_project(self, key: bytes) -> str:
        """The project that `key` of the vault belongs to."""
        return self._rest(key, "vault").partition("/")[0]

    def vault_secret_name(self, key: bytes, project: str) -> tuple[str, str]:
        """The cluster (empty for the whole project) and the name of the secret under `key`."""
        cluster, _, name = self._rest(key, "vault", project, "secrets").partition("/")
        return ("" if cluster == "-" else cluster), name

    def _key(self, *parts: str) -> bytes:
        return "/".join((self.prefix, *parts)).encode()

    def _under(self, *parts: str) -> KeyRange:
        start = self._key(*parts) + b"/"
        return KeyRange(start, prefix_end(start))

    def _rest(self, key: bytes, *parts: str) -> str:
        start = self._under(*parts).start
        if not key.startswith(start):
            raise InvalidRequestError(f"{key!r} does not lie under {start.decode()}")
        return key[len(start) :].decode()

    def _last(self, key: bytes, *parts: str) -> str:
        return _segment(self._rest(key, *parts))


def _segment(text: str) -> str:
    if not _SEGMENT.fullmatch(text):
        raise InvalidRequestError(f"{text!r} cannot be part of a key")
    return text


def _digits(number: int, width: int) -> str:
    if not 0 <= number < 10**width:
        raise InvalidRequestError(f"{number} is not a sequence number")
    return f"{number:0{width}d}"
