"""Secrets at rest: a value is sealed under its project's key, the project's key under the master key.

AES-256-GCM throughout. What is sealed is bound to where it belongs (project, cluster, name), so that a value moved
to another key of the store does not open. The master key never enters the store; without it the rest is noise.
Values appear in no log, error or representation made here.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orbit_core.errors import FencedError, LimitError, SecretError, StoreError
from orbit_core.ids import content_hash
from orbit_core.limits import KIB
from orbit_core.store.api import Compare, Delete, Get, KeyValue, Put, Store
from orbit_core.store.keys import Keys

MASTER_KEY_VARIABLE: Final = "ORBIT_MASTER_KEY"
SECRET_MAX_BYTES: Final = 64 * KIB
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FORMAT_VERSION: Final = 1
_ROUNDS: Final = 10  # tries of a change that others keep overtaking


@dataclass(frozen=True, slots=True)
class MasterKey:
    """`id` tells keys apart without telling anything about them."""

    id: str
    key: bytes = field(repr=False)

    @classmethod
    def from_bytes(cls, key: bytes) -> MasterKey:
        if len(key) != _KEY_BYTES:
            raise SecretError(f"the master key has {len(key)} bytes; it must have {_KEY_BYTES}")
        return cls(content_hash(b"orbit master key\x00" + key)[:16], key)


def load_master_key(path: Path, environ: Mapping[str, str] = os.environ) -> MasterKey:
    """The key that `ORBIT_MASTER_KEY` holds (base64), else the one in the file, which is made where there is none.

    Raises `SecretError` for a key that is malformed, and for a file that others may read.
    """
    text = environ.get(MASTER_KEY_VARIABLE)
    if text is not None:
        return _parse_master_key(text, f"the environment variable {MASTER_KEY_VARIABLE}")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_master_key(path)
    key = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return MasterKey.from_bytes(key)


def _read_master_key(path: Path) -> MasterKey:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SecretError(
            f"the master key in {path} may be read by others (mode {mode:04o})",
            remedy=f"chmod 600 {path}, and consider the secrets under it known",
        )
    return _parse_master_key(path.read_text(), str(path))


def _parse_master_key(text: str, source: str) -> MasterKey:
    try:
        return MasterKey.from_bytes(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, SecretError):
        raise SecretError(f"{source} holds no master key", remedy="it must be 32 random bytes in base64") from None


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """That a secret is there; `cluster` is empty for one of the whole project. `version` counts its settings."""

    project: str
    cluster: str
    name: str
    version: int


class Vault:
    """Sealed secrets in the store. With `guard`, every write carries it: a deposed leader changes nothing."""

    def __init__(
        self, store: Store, keys: Keys, master: MasterKey, *, guard: Callable[[], Compare] | None = None
    ) -> None:
        self._store = store
        self._keys = keys
        self._master = master
        self._guard = guard
        self._opened: dict[tuple[str, str], bytes] = {}  # project keys by project and key id

    async def set(self, project: str, name: str, value: str, *, cluster: str = "") -> None:
        """Seal and store `value`, replacing what was there."""
        plain = value.encode()
        if len(plain) > SECRET_MAX_BYTES:
            raise LimitError(f"secret {name!r} has {len(plain)} bytes; at most {SECRET_MAX_BYTES} are allowed")
        key = self._keys.vault_secret(project, cluster, name)
        for _ in range(_ROUNDS):
            key_id = await self._current_key_id(project)
            sealed = _seal(
                await self._project_key(project, key_id), key_id, plain, _secret_data(project, cluster, name, key_id)
            )
            if await self._write_under(project, key_id, [Put(key, sealed)]):
                return
        raise _overtaken(project)

    async def get(self, project: str, name: str, *, cluster: str = "") -> str:
        """Raises `SecretError` when it is not there or cannot be opened."""
        found = await self._store.get(self._keys.vault_secret(project, cluster, name))
        if found is None:
            raise _missing(project, cluster, [name])
        return (await self._open(project, cluster, name, found)).decode()

    async def lookup(self, project: str, cluster: str, names: Iterable[str]) -> dict[str, str]:
        """The cluster's own value of each name, else the project's. Raises one `SecretError` for all that lack."""
        values: dict[str, str] = {}
        lacking: list[str] = []
        for name in names:
            for scope in (cluster, "") if cluster else ("",):
                found = await self._store.get(self._keys.vault_secret(project, scope, name))
                if found is not None:
                    values[name] = (await self._open(project, scope, name, found)).decode()
                    break
            else:
                lacking.append(name)
        if lacking:
            raise _missing(project, cluster, lacking)
        return values

    async def list(self, project: str) -> tuple[SecretInfo, ...]:
        """All secrets of a project by cluster and name, without their values."""
        found = await self._store.get_prefix(self._keys.vault_secrets(project).start, keys_only=True)
        return tuple(
            SecretInfo(project, *self._keys.vault_secret_name(kv.key, project), kv.version) for kv in found.kvs
        )

    async def projects(self) -> tuple[str, ...]:
        """The projects that have, or had, secrets, by name."""
        found = await self._store.get_prefix(self._keys.vault().start, keys_only=True)
        return tuple(dict.fromkeys(self._keys.vault_project(kv.key) for kv in found.kvs))

    async def delete(self, project: str, name: str, *, cluster: str = "") -> bool:
        """Whether it was there."""
        key = self._keys.vault_secret(project, cluster, name)
        result = await self._store.txn(
            compare=[*self._fence(), Compare.present(key)], success=[Delete(key)], failure=[Get(key)]
        )
        if not result.succeeded and result.range(0).kvs:
            raise FencedError("the secret was not deleted: this coordinator has been deposed")
        return result.succeeded

    async def rotate(self, project: str) -> str:
        """Give the project a new key, seal every secret under it, and delete the old keys; the new key's id.

        May be interrupted and run again at any time: a key goes only when nothing is sealed under it any more.
        """
        old_id = await self._current_key_id(project)
        new_id = _new_key_id()
        sealed = self._seal_project_key(project, new_id, secrets.token_bytes(_KEY_BYTES))
        puts = [
            Put(self._keys.vault_key(project, new_id), sealed),
            Put(self._keys.vault_current(project), new_id.encode()),
        ]
        if not await self._write_under(project, old_id, puts):
            raise _overtaken(project)
        for _ in range(_ROUNDS):
            stale = await self._sealed_under_others(project, new_id)
            if not stale:
                await self._delete_other_keys(project, new_id)
                return new_id
            for kv in stale:
                await self._reseal(project, new_id, kv)
        raise _overtaken(project)

    async def _sealed_under_others(self, project: str, key_id: str) -> list[KeyValue]:
        found = await self._store.get_prefix(self._keys.vault_secrets(project).start)
        return [kv for kv in found.kvs if json.loads(kv.value)["key"] != key_id]

    async def _reseal(self, project: str, key_id: str, kv: KeyValue) -> None:
        """Seal one secret anew, unless somebody has just set it."""
        cluster, name = self._keys.vault_secret_name(kv.key, project)
        plain = await self._open(project, cluster, name, kv)
        sealed = _seal(
            await self._project_key(project, key_id), key_id, plain, _secret_data(project, cluster, name, key_id)
        )
        unchanged = Compare.unchanged_since(kv.key, kv.mod_revision)
        await self._write_under(project, key_id, [Put(kv.key, sealed)], unchanged)

    async def _delete_other_keys(self, project: str, key_id: str) -> None:
        found = await self._store.get_prefix(self._keys.vault_keys(project).start, keys_only=True)
        keep = self._keys.vault_key(project, key_id)
        for kv in found.kvs:
            if kv.key != keep:
                await self._write_under(project, key_id, [Delete(kv.key)])

    async def _write_under(self, project: str, key_id: str, ops: Sequence[Put | Delete], *compare: Compare) -> bool:
        """Write while `key_id` is the project's key; `False` when it is not, or `compare` does not hold."""
        current = self._keys.vault_current(project)
        under = Compare(current, "value", "==", key_id.encode())
        result = await self._store.txn(
            compare=[*self._fence(), under, *compare],
            success=ops,
            failure=[Get(guard.key) for guard in self._fence()],
        )
        if result.succeeded:
            return True
        for index, guard in enumerate(self._fence()):
            held = result.range(index).kvs
            if not held or held[0].create_revision != guard.operand:
                raise FencedError("nothing was written to the vault: this coordinator has been deposed")
        return False

    async def _current_key_id(self, project: str) -> str:
        """The id of the project's key, which is made when the project has none."""
        current = self._keys.vault_current(project)
        found = await self._store.get(current)
        if found is not None:
            return found.value.decode()
        key_id = _new_key_id()
        sealed = self._seal_project_key(project, key_id, secrets.token_bytes(_KEY_BYTES))
        result = await self._store.txn(
            compare=[*self._fence(), Compare.absent(current)],
            success=[Put(self._keys.vault_key(project, key_id), sealed), Put(current, key_id.encode())],
            failure=[Get(current)],
        )
        if result.succeeded:
            return key_id
        if not result.range(0).kvs:
            raise FencedError("the project has no key yet, and this coordinator has been deposed")
        return result.range(0).kvs[0].value.decode()

    def _fence(self) -> tuple[Compare, ...]:
        return (self._guard(),) if self._guard else ()

    async def _project_key(self, project: str, key_id: str) -> bytes:
        opened = self._opened.get((project, key_id))
        if opened is None:
            found = await self._store.get(self._keys.vault_key(project, key_id))
            if found is None:
                raise SecretError(f"key {key_id} of project {project!r} is gone: what it sealed cannot be opened")
            sealed_under = json.loads(found.value)["key"]
            if sealed_under != self._master.id:
                raise SecretError(
                    f"the secrets of project {project!r} are sealed under master key {sealed_under}; this"
                    f" coordinator has {self._master.id}",
                    remedy="give every coordinator the same master key",
                )
            opened = _unseal(self._master.key, found.value, _key_data(project, key_id), f"key {key_id}")
            self._opened[project, key_id] = opened
        return opened

    async def _open(self, project: str, cluster: str, name: str, kv: KeyValue) -> bytes:
        key_id = json.loads(kv.value)["key"]
        key = await self._project_key(project, key_id)
        return _unseal(key, kv.value, _secret_data(project, cluster, name, key_id), f"secret {name!r}")

    def _seal_project_key(self, project: str, key_id: str, key: bytes) -> bytes:
        return _seal(self._master.key, self._master.id, key, _key_data(project, key_id))


def _new_key_id() -> str:
    return secrets.token_hex(8)


def _secret_data(project: str, cluster: str, name: str, key_id: str) -> bytes:
    """What a sealed value is bound to. JSON, so that no two places can read the same."""
    return json.dumps(["orbit secret", project, cluster, name, key_id]).encode()


def _key_data(project: str, key_id: str) -> bytes:
    return json.dumps(["orbit project key", project, key_id]).encode()


def _seal(key: bytes, key_id: str, plain: bytes, bound_to: bytes) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, plain, bound_to)
    return json.dumps(
        {
            "format": _FORMAT_VERSION,
            "key": key_id,
            "nonce": base64.b64encode(nonce).decode(),
            "data": base64.b64encode(sealed).decode(),
        }
    ).encode()


def _unseal(key: bytes, sealed: bytes, bound_to: bytes, what: str) -> bytes:
    envelope = json.loads(sealed)
    if envelope["format"] != _FORMAT_VERSION:
        raise SecretError(f"{what} is sealed in the unknown format {envelope['format']}")
    try:
        return AESGCM(key).decrypt(base64.b64decode(envelope["nonce"]), base64.b64decode(envelope["data"]), bound_to)
    except InvalidTag:
        raise SecretError(
            f"{what} cannot be opened: it was changed in the store, or moved there from another place",
            remedy="set it again",
        ) from None


def _missing(project: str, cluster: str, names: Sequence[str]) -> SecretError:
    listed = ", ".join(names)
    where = f"cluster {cluster!r} of project {project!r}" if cluster else f"project {project!r}"
    return SecretError(f"the vault has no {listed} for {where}", remedy="set it with `orbit secrets set`")


def _overtaken(project: str) -> StoreError:
    return StoreError(f"the keys of project {project!r} keep changing", remedy="try again in a moment")
