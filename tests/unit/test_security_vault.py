"""The vault: sealed at rest, bound to its place, rotated without a gap, fenced."""

from __future__ import annotations

import base64
import json
import logging
import os
from pathlib import Path

import pytest

from orbit_core.errors import FencedError, LimitError, SecretError
from orbit_core.security.vault import SECRET_MAX_BYTES, MasterKey, SecretInfo, Vault, load_master_key
from orbit_core.store.api import Compare, Put
from orbit_core.store.keys import Keys
from orbit_core.store.memory import MemoryStore

KEYS = Keys()
MASTER = MasterKey.from_bytes(b"m" * 32)
VALUE = "hunter2-and-more"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def vault(store: MemoryStore) -> Vault:
    return Vault(store, KEYS, MASTER)


async def everything(store: MemoryStore) -> bytes:
    found = await store.get_prefix(b"/")
    return b"\n".join(kv.key + b"=" + kv.value for kv in found.kvs)


async def test_a_secret_is_read_back_and_not_found_in_the_store(vault: Vault, store: MemoryStore) -> None:
    await vault.set("demo", "TOKEN", VALUE)
    await vault.set("demo", "_other", "ünïcode", cluster="reports")
    assert await vault.get("demo", "TOKEN") == VALUE
    assert await vault.get("demo", "_other", cluster="reports") == "ünïcode"
    stored = await everything(store)
    for form in (VALUE.encode(), base64.b64encode(VALUE.encode())[:16], VALUE.encode().hex().encode()):
        assert form not in stored
    another_coordinator = Vault(store, KEYS, MASTER)
    assert await another_coordinator.get("demo", "TOKEN") == VALUE


async def test_setting_again_replaces_and_listing_shows_no_value(vault: Vault) -> None:
    await vault.set("demo", "TOKEN", "first")
    await vault.set("demo", "TOKEN", "second")
    await vault.set("demo", "TOKEN", "third", cluster="reports")
    assert await vault.get("demo", "TOKEN") == "second"
    assert await vault.list("demo") == (
        SecretInfo("demo", "", "TOKEN", 2),
        SecretInfo("demo", "reports", "TOKEN", 1),
    )
    assert await vault.list("other") == ()


async def test_deleting(vault: Vault) -> None:
    await vault.set("demo", "TOKEN", VALUE)
    assert await vault.delete("demo", "TOKEN", cluster="reports") is False
    assert await vault.delete("demo", "TOKEN") is True
    assert await vault.delete("demo", "TOKEN") is False
    with pytest.raises(SecretError, match="orbit secrets set"):
        await vault.get("demo", "TOKEN")


async def test_a_cluster_sees_its_own_value_before_the_projects(vault: Vault) -> None:
    await vault.set("demo", "A", "project's")
    await vault.set("demo", "B", "project's")
    await vault.set("demo", "A", "cluster's", cluster="reports")
    assert await vault.lookup("demo", "reports", ["A", "B"]) == {"A": "cluster's", "B": "project's"}
    assert await vault.lookup("demo", "", ["A"]) == {"A": "project's"}
    with pytest.raises(SecretError, match="X, Y"):
        await vault.lookup("demo", "reports", ["X", "A", "Y"])


async def test_a_value_that_was_moved_or_changed_does_not_open(vault: Vault, store: MemoryStore) -> None:
    await vault.set("demo", "TOKEN", VALUE, cluster="reports")
    await vault.set("demo", "TOKEN", "mine", cluster="intruder")
    sealed = await store.get(KEYS.vault_secret("demo", "reports", "TOKEN"))
    assert sealed is not None
    await store.put(KEYS.vault_secret("demo", "intruder", "TOKEN"), sealed.value)
    with pytest.raises(SecretError, match="moved there"):
        await vault.get("demo", "TOKEN", cluster="intruder")

    envelope = json.loads(sealed.value)
    data = bytearray(base64.b64decode(envelope["data"]))
    data[0] ^= 1
    envelope["data"] = base64.b64encode(data).decode()
    await store.put(KEYS.vault_secret("demo", "reports", "TOKEN"), json.dumps(envelope).encode())
    with pytest.raises(SecretError, match="changed in the store"):
        await vault.get("demo", "TOKEN", cluster="reports")


async def test_another_master_key_opens_nothing_and_says_why(vault: Vault, store: MemoryStore) -> None:
    await vault.set("demo", "TOKEN", VALUE)
    other = Vault(store, KEYS, MasterKey.from_bytes(b"o" * 32))
    with pytest.raises(SecretError, match="the same master key"):
        await other.get("demo", "TOKEN")


async def test_rotation_seals_everything_anew(vault: Vault, store: MemoryStore) -> None:
    for number in range(5):
        await vault.set("demo", f"S{number}", f"value {number}", cluster="reports" if number % 2 else "")
    await vault.set("other", "S", "untouched")
    before = await everything(store)
    old_id = (await store.get(KEYS.vault_current("demo"))).value.decode()  # type: ignore[union-attr]
    new_id = await vault.rotate("demo")
    assert new_id != old_id
    assert old_id.encode() not in await everything(store)
    assert old_id.encode() in before
    for reader in (vault, Vault(store, KEYS, MASTER)):
        assert [
            await reader.get("demo", f"S{number}", cluster="reports" if number % 2 else "") for number in range(5)
        ] == [f"value {number}" for number in range(5)]
        assert await reader.get("other", "S") == "untouched"


async def test_a_rotation_that_was_interrupted_is_finished_by_the_next(
    vault: Vault, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await vault.set("demo", "A", "a")
    await vault.set("demo", "B", "b")

    async def crash(*args: object) -> None:
        raise ConnectionError("cut")

    monkeypatch.setattr(vault, "_reseal", crash)
    with pytest.raises(ConnectionError):
        await vault.rotate("demo")
    monkeypatch.undo()
    assert await vault.lookup("demo", "", ["A", "B"]) == {"A": "a", "B": "b"}
    await vault.rotate("demo")
    assert await vault.lookup("demo", "", ["A", "B"]) == {"A": "a", "B": "b"}
    assert len((await store.get_prefix(KEYS.vault_keys("demo").start)).kvs) == 1


async def test_a_value_set_during_a_rotation_is_kept(
    vault: Vault, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await vault.set("demo", "A", "old")
    reseal = vault._reseal
    writer = Vault(store, KEYS, MASTER)

    async def set_first(project: str, key_id: str, kv) -> None:
        await writer.set("demo", "A", "new")
        await reseal(project, key_id, kv)

    monkeypatch.setattr(vault, "_reseal", set_first)
    await vault.rotate("demo")
    assert await vault.get("demo", "A") == "new"


async def test_a_deposed_leader_changes_nothing(store: MemoryStore) -> None:
    epoch = (await store.txn(success=[Put(KEYS.leader(), b"")])).revision
    vault = Vault(store, KEYS, MASTER, guard=lambda: Compare.created_at(KEYS.leader(), epoch))
    await vault.set("demo", "TOKEN", VALUE)
    await store.delete(KEYS.leader())
    before = await everything(store)
    with pytest.raises(FencedError):
        await vault.set("demo", "TOKEN", "from the grave")
    with pytest.raises(FencedError):
        await vault.set("new-project", "TOKEN", "from the grave")
    with pytest.raises(FencedError):
        await vault.delete("demo", "TOKEN")
    with pytest.raises(FencedError):
        await vault.rotate("demo")
    assert await everything(store) == before


async def test_values_are_in_no_log_error_or_representation(
    vault: Vault, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await vault.set("demo", "TOKEN", VALUE)
    await vault.rotate("demo")
    with pytest.raises(LimitError) as caught:
        await vault.set("demo", "TOKEN", VALUE * SECRET_MAX_BYTES)
    assert VALUE not in caplog.text + str(caught.value) + repr(vault)
    assert "mmmm" not in repr(MASTER)


def test_the_master_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master"
    made = load_master_key(path, {})
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_master_key(path, {}) == made
    path.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        load_master_key(path, {})
    path.chmod(0o600)
    path.write_text("nonsense")
    with pytest.raises(SecretError, match="32 random bytes") as caught:
        load_master_key(path, {})
    assert "nonsense" not in str(caught.value)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master"
    key = os.urandom(32)
    assert load_master_key(path, {"ORBIT_MASTER_KEY": base64.b64encode(key).decode()}).key == key
    assert not path.exists()
    for wrong in ("", "short", base64.b64encode(b"short").decode()):
        with pytest.raises(SecretError, match="ORBIT_MASTER_KEY"):
            load_master_key(path, {"ORBIT_MASTER_KEY": wrong})


async def test_the_projects_that_have_secrets(vault: Vault) -> None:
    assert await vault.projects() == ()
    await vault.set("other", "TOKEN", VALUE)
    await vault.set("demo", "TOKEN", VALUE, cluster="reports")
    await vault.set("demo", "KEY", VALUE)
    assert await vault.projects() == ("demo", "other")
