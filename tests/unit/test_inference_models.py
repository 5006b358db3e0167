"""The model store: registration, fetching, verification, eviction."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from orbit_agent.inference.errors import CorruptModelError, ModelSourceError, NoRoomError, UnknownModelError
from orbit_agent.models import sources
from orbit_agent.models.manifest import safe_path
from orbit_agent.models.sources import HuggingFaceSource, S3Source, parse_source
from orbit_agent.models.store import ModelStore
from orbit_core.errors import InvalidRequestError, ModelError
from orbit_core.store.models import Manifest, ModelFile

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"


def model_folder(path: Path, content: str = "weights", size: int = 1_000) -> Path:
    path.mkdir(parents=True)
    (path / "genai_config.json").write_text("{}")
    (path / "model.onnx").write_bytes(content.encode().ljust(size, b"."))
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store", packaged_root=tmp_path / "packaged")


def test_a_model_from_a_folder(store: ModelStore) -> None:
    store.add("tiny", f"folder:{TINY}")
    assert not store.cached("tiny")
    opened = store.open("tiny")
    assert store.cached("tiny")
    assert opened.folder != TINY
    assert {file.path for file in opened.manifest.files} == {path.name for path in TINY.iterdir()}
    assert store.open("tiny") == opened


def test_registrations_survive_the_process(store: ModelStore, tmp_path: Path) -> None:
    store.add("tiny", f"folder:{TINY}")
    pulled = store.pull("tiny")
    again = ModelStore(tmp_path / "store", packaged_root=tmp_path / "packaged")
    assert [(m.registration.name, m.registration.manifest, m.cached) for m in again.list()] == [("tiny", pulled, True)]


def test_an_unknown_model_names_the_known_ones(store: ModelStore) -> None:
    store.add("tiny", f"folder:{TINY}")
    for name in ("tyni", "../tiny", ""):
        with pytest.raises(UnknownModelError, match="known: tiny"):
            store.open(name)


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "-a"])
def test_a_bad_name_is_refused(store: ModelStore, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="no name for a model"):
        store.add(name, f"folder:{TINY}")


def test_a_damaged_file_is_refused_at_the_load(store: ModelStore) -> None:
    store.add("tiny", f"folder:{TINY}")
    data = store.open("tiny").folder / "model.onnx.data"
    content = bytearray(data.read_bytes())
    content[1_000] ^= 1
    data.write_bytes(content)
    with pytest.raises(CorruptModelError, match=r"model\.onnx\.data") as caught:
        store.open("tiny")
    assert "orbit models pull tiny" in str(caught.value)
    store.pull("tiny")
    assert store.open("tiny").folder.is_dir()


def test_damage_is_found_even_if_size_and_time_of_change_are_forged(store: ModelStore) -> None:
    store.add("tiny", f"folder:{TINY}")
    data = store.open("tiny").folder / "model.onnx.data"
    before = data.stat()
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(CorruptModelError):
        store.open("tiny")


@pytest.mark.parametrize("damage", ["delete", "shorten"])
def test_a_missing_or_short_file_is_refused(store: ModelStore, damage: str) -> None:
    store.add("tiny", f"folder:{TINY}")
    path = store.open("tiny").folder / "tokenizer.json"
    path.unlink() if damage == "delete" else path.write_text("{}")
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json"):
        store.open("tiny")


def test_files_are_hashed_again_only_if_touched(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add("tiny", f"folder:{TINY}")
    opened = store.open("tiny")
    calls: list[Manifest] = []
    monkeypatch.setattr("orbit_agent.models.store.verify", lambda manifest, folder: calls.append(manifest))
    store.open("tiny")
    assert calls == []
    (opened.folder / "model.onnx").touch()
    store.open("tiny")
    assert len(calls) == 1
    store.open("tiny")
    assert len(calls) == 1


def test_a_source_that_changed_is_refused_until_added_again(store: ModelStore, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "source")
    store.add("m", f"folder:{folder}")
    first = store.pull("m")
    (folder / "model.onnx").write_bytes(b"other weights")
    with pytest.raises(CorruptModelError, match="no longer holds"):
        store.pull("m")
    assert store.open("m").manifest == first
    store.add("m", f"folder:{folder}")
    assert store.pull("m").hash != first.hash


def test_the_least_recently_used_leaves_the_cache(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store", cache_limit_bytes=2_500, packaged_root=tmp_path / "packaged")
    for name in ("a", "b", "c"):
        store.add(name, f"folder:{model_folder(tmp_path / name, content=name)}")
    for place, name in enumerate(("a", "b")):
        folder = store.open(name).folder
        os.utime(folder, ns=(place, place))
    os.utime(store.open("a").folder, ns=(9, 9))
    store.open("c")
    assert [(m.registration.name, m.cached) for m in store.list()] == [("a", True), ("b", False), ("c", True)]


def test_a_model_in_use_is_not_evicted(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store", cache_limit_bytes=1_500, packaged_root=tmp_path / "packaged")
    for name in ("a", "b"):
        store.add(name, f"folder:{model_folder(tmp_path / name, content=name)}")
    with store.holding(store.open("a").manifest), pytest.raises(NoRoomError, match="beside the models in use"):
        store.open("b")
    assert store.cached("a")
    store.open("b")
    assert not store.cached("a")


def test_room_is_kept_for_what_is_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(tmp_path / "store", cache_limit_bytes=1_500, packaged_root=tmp_path / "packaged")
    for name in ("a", "b"):
        store.add(name, f"folder:{model_folder(tmp_path / name, content=name)}")
    under_way, go_on = threading.Event(), threading.Event()
    fetch = sources.FolderSource.fetch

    def slowly(source: sources.FolderSource, listing: sources.Listing, target: Path) -> None:
        under_way.set()
        assert go_on.wait(10)
        fetch(source, listing, target)

    monkeypatch.setattr(sources.FolderSource, "fetch", slowly)
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(store.pull, "a")
        assert under_way.wait(10)
        assert [(m.registration.name, m.fetching) for m in store.list()] == [("a", True), ("b", False)]
        with pytest.raises(NoRoomError):
            store.pull("b")
        go_on.set()
        fetched.result()
    store.pull("b")
    assert [(m.registration.name, m.cached) for m in store.list()] == [("a", False), ("b", True)]


def test_a_model_larger_than_the_cache_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store", cache_limit_bytes=500, packaged_root=tmp_path / "packaged")
    store.add("m", f"folder:{model_folder(tmp_path / 'm')}")
    with pytest.raises(NoRoomError):
        store.pull("m")
    assert [path for path in (tmp_path / "store" / "cache").iterdir() if path.is_dir()] == []


def test_a_removed_model_is_gone_unless_another_name_shares_its_files(store: ModelStore) -> None:
    store.add("one", f"folder:{TINY}")
    store.add("two", f"folder:{TINY}")
    folder = store.open("one").folder
    assert store.open("two").folder == folder
    store.remove("one")
    assert folder.is_dir()
    store.remove("two")
    assert not folder.exists()
    with pytest.raises(UnknownModelError):
        store.registration("one")


def test_the_files_of_a_model_removed_while_in_use_go_when_its_last_use_ends(store: ModelStore, tmp_path: Path) -> None:
    store.add("a", f"folder:{model_folder(tmp_path / 'a')}")
    opened = store.open("a")
    with store.holding(opened.manifest):
        with store.holding(opened.manifest):
            store.remove("a")
        assert opened.folder.is_dir()
    assert not opened.folder.exists()


def test_the_files_of_a_model_removed_and_added_again_while_in_use_stay(store: ModelStore, tmp_path: Path) -> None:
    source = f"folder:{model_folder(tmp_path / 'a')}"
    store.add("a", source)
    opened = store.open("a")
    with store.holding(opened.manifest):
        store.remove("a")
        store.add("b", source)
        store.open("b")
    assert opened.folder.is_dir()


def test_a_model_that_ships_with_orbit_needs_no_registration(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path / "packaged" / "demo")
    (tmp_path / "packaged" / "demo" / "README.md").write_text("not a part of the model")
    store = ModelStore(tmp_path / "store", packaged_root=tmp_path / "packaged")
    assert [(m.registration.source, m.cached) for m in store.list()] == [("package:demo", False)]
    opened = store.open("demo")
    assert "README.md" not in {file.path for file in opened.manifest.files}
    assert store.cached("demo")
    store.remove("demo")
    assert not store.cached("demo")


def test_a_fetch_that_fails_leaves_nothing(store: ModelStore, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "source")
    (folder / "tokenizer.json").symlink_to(folder / "model.onnx")
    store.add("m", f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(ModelSourceError, match="there is no folder"):
        store.pull("m")
    assert list((tmp_path / "store" / "cache").iterdir()) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "", "a\\b"])
def test_paths_out_of_the_folder_are_refused(path: str) -> None:
    with pytest.raises(CorruptModelError):
        safe_path(path)


@pytest.mark.parametrize("text", ["", "{}", '{"files": 1}', '{"name":"n","source":"s","revision":"","files":[1]}'])
def test_a_damaged_manifest_is_an_error(text: str) -> None:
    with pytest.raises(ModelError, match="manifest"):
        Manifest.from_json(text)


def test_equal_files_have_equal_hashes_whatever_they_are_called() -> None:
    files = (ModelFile("a", 1, "x"), ModelFile("b", 2, "y"))
    assert Manifest("one", "s", "", files).hash == Manifest("two", "t", "r", files).hash
    assert Manifest("one", "s", "", files[:1]).hash != Manifest("one", "s", "", files).hash


def test_sources_by_name(tmp_path: Path) -> None:
    assert parse_source("s3://bucket/some/prefix/") == S3Source("bucket", "some/prefix")
    assert parse_source("s3://bucket") == S3Source("bucket", "")
    assert parse_source("hf:owner/name@abc") == HuggingFaceSource("owner/name", "abc")
    assert parse_source("hf:owner/name/cpu/int4@abc") == HuggingFaceSource("owner/name", "abc", "cpu/int4")


@pytest.mark.parametrize("text", ["", "folder:", "s3:bucket", "s3://", "hf:name", "package:../x", "http://x", "x"])
def test_a_source_that_is_none(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="source of models"):
        parse_source(text)


class FakeSibling(NamedTuple):
    rfilename: str
    size: int | None


class FakeInfo(NamedTuple):
    sha: str | None
    siblings: list[FakeSibling]


def fake_hub(monkeypatch: pytest.MonkeyPatch, content: Path, commit: str | None) -> list[dict[str, object]]:
    """Stands in for the hub, which cannot be reached here; returns what was asked of it."""
    import huggingface_hub

    asked: list[dict[str, object]] = []

    class FakeApi:
        def model_info(self, repository: str, *, revision: str | None, files_metadata: bool) -> FakeInfo:
            asked.append({"repository": repository, "revision": revision, "sizes": files_metadata})
            paths = [p for p in sorted(content.rglob("*")) if p.is_file()]
            names = [FakeSibling(p.relative_to(content).as_posix(), p.stat().st_size) for p in paths]
            return FakeInfo(commit, names)

    def download(repository: str, name: str, *, revision: str, local_dir: Path) -> str:
        asked.append({"file": name, "revision": revision})
        target = local_dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copy(content / name, target))

    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_a_hugging_face_branch_is_pinned_to_its_commit(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tmp_path / "hub"
    model_folder(content / "cpu")
    (content / "cpu" / "model.safetensors").write_text("for another runtime")
    asked = fake_hub(monkeypatch, content, "c0ffee")
    store.add("m", "hf:owner/name/cpu@main")
    opened = store.open("m")
    assert opened.manifest.revision == "c0ffee"
    assert {file.path for file in opened.manifest.files} == {"genai_config.json", "model.onnx"}
    assert sorted(path.name for path in opened.folder.iterdir()) == ["genai_config.json", "model.onnx"]
    assert asked[0] == {"repository": "owner/name", "revision": "main", "sizes": True}
    assert all(call["revision"] == "c0ffee" for call in asked[1:])


def test_a_pinned_repository_is_fetched_again_at_its_commit_though_the_branch_moved(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(tmp_path / "hub")
    asked = fake_hub(monkeypatch, tmp_path / "hub", "c0ffee")
    store.add("m", "hf:owner/name@main")
    store.pull("m")
    asked.clear()
    store.pull("m")
    assert asked[0]["revision"] == "c0ffee"
    store.add("m", "hf:owner/name@main")  # added anew, it is no longer pinned
    asked.clear()
    store.pull("m")
    assert asked[0]["revision"] == "main"


def test_a_repository_that_cannot_be_reached_is_a_source_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    with pytest.raises(ModelSourceError, match="no route to host"):
        HuggingFaceSource("owner/name", "main").list()


def test_a_repository_without_onnx_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model.safetensors").write_text("x")
    fake_hub(monkeypatch, tmp_path / "hub", "c0ffee")
    with pytest.raises(ModelSourceError, match="holds no model"):
        HuggingFaceSource("owner/name", "main").list()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket that holds the tiny model below a prefix, and something else beside it."""
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        for path in TINY.iterdir():
            client.upload_file(str(path), "models", f"llm/tiny/{path.name}")
        client.put_object(Bucket="models", Key="llm/tiny/.git/config.json", Body=b"{}")
        client.put_object(Bucket="models", Key="llm/tiny-2/model.onnx", Body=b"another")
        yield client


def test_a_model_from_s3(store: ModelStore, bucket: Any) -> None:
    store.add("tiny", "s3://models/llm/tiny")
    opened = store.open("tiny")
    assert {file.path for file in opened.manifest.files} == {path.name for path in TINY.iterdir()}
    assert (opened.folder / "model.onnx").read_bytes() == (TINY / "model.onnx").read_bytes()


def test_a_bucket_that_is_not_there_is_a_source_error(store: ModelStore, bucket: Any) -> None:
    store.add("tiny", "s3://nowhere/llm")
    with pytest.raises(ModelSourceError, match="cannot be listed"):
        store.open("tiny")
    store.add("tiny", "s3://models/empty")
    with pytest.raises(ModelSourceError, match="holds no model"):
        store.open("tiny")


def test_registrations_are_readable_json(store: ModelStore, tmp_path: Path) -> None:
    store.add("tiny", f"folder:{TINY}")
    store.pull("tiny")
    data = json.loads((tmp_path / "store" / "registered" / "tiny.json").read_text())
    assert data["source"] == f"folder:{TINY}"
    assert "sha256" in data["manifest"]


def test_wanted_files_leave_out_the_hidden_and_the_foreign() -> None:
    assert sources._wanted("model.onnx.data")
    assert sources._wanted("sub/tokenizer.json")
    assert not sources._wanted(".cache/model.onnx")
    assert not sources._wanted("pytorch_model.bin")
