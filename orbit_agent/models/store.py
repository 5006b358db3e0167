"""The models of one machine: which are registered, which lie in the cache, and that they are what they were.

    <root>/registered/<name>.json    a registration of this machine's own: source, and what it is pinned to
    <root>/cache/<hash>/…            the files of one model, under the hash of its manifest
    <root>/cache/<hash>.json         what was seen of each file when it was last hashed

The mesh's registrations are mirrored in memory (`mirror`) and come before the machine's own. A file is hashed when it
is fetched, and again at a load if its size, times or inode are not those it had then. What was used least recently
leaves the cache when a new model needs the room. Everything here blocks: call it on a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from orbit_agent.inference.errors import CorruptModelError, MisplacedModelError, NoRoomError, UnknownModelError
from orbit_agent.models.manifest import Manifest, describe, verify
from orbit_agent.models.sources import PACKAGED_ROOT, HuggingFaceSource, PackagedSource, Source, parse_source
from orbit_core.ids import NAME_PATTERN
from orbit_core.limits import GIB
from orbit_core.store.models import ModelRecord, check_name

CACHE_LIMIT_BYTES: Final = 64 * GIB

#: Makes a manifest the one that the whole mesh holds a model to. Raises where the mesh has another one by now.
Pin = Callable[[ModelRecord, Manifest], None]

_Stamps = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A registered model as it is here. `shipped`: it comes with Orbit, so that nothing need be fetched."""

    registration: ModelRecord
    cached: bool
    fetching: bool = False
    barred: bool = False
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model whose files lie in `folder` and have been verified."""

    manifest: Manifest
    folder: Path


class ModelStore:
    """Thread-safe. One process should write to a root at a time; others may read.

    `labels`: this machine's, which decide what models of the mesh it may hold. `pin`: asked before a model of the
    mesh that nobody has fetched yet is used here.
    """

    def __init__(
        self,
        root: Path,
        *,
        cache_limit_bytes: int = CACHE_LIMIT_BYTES,
        packaged_root: Path = PACKAGED_ROOT,
        labels: Mapping[str, str] | None = None,
        pin: Pin | None = None,
    ) -> None:
        self._registered = root / "registered"
        self._cache = root / "cache"
        self._limit_bytes = cache_limit_bytes
        self._packaged_root = packaged_root
        self._labels = dict(labels or {})
        self._pin = pin
        self._lock = threading.Lock()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._held: Counter[str] = Counter()
        #: Of what is held, what no registration named when it was last swept.
        self._unwanted: set[str] = set()
        #: Bytes of fetches under way, by the model's name.
        self._arriving: dict[str, int] = {}
        self._shipped: dict[str, ModelRecord] = {}
        self._mesh: dict[str, ModelRecord] = {}
        self._registered.mkdir(parents=True, exist_ok=True)
        self._cache.mkdir(parents=True, exist_ok=True)

    # ---- registrations ----

    def add(self, name: str, source: str) -> ModelRecord:
        """Registers a model on this machine; nothing is fetched yet. The same name again replaces the registration."""
        check_name(name)
        parse_source(source)
        record = ModelRecord(name, source)
        self._write(record)
        return record

    def mirror(self, records: Mapping[str, ModelRecord]) -> tuple[ModelRecord, ...]:
        """Takes over the mesh's registrations; those that stood before and are not what they were, or gone.

        Their files stay until `sweep`, which is for when nothing uses them any more.
        """
        with self._lock:
            before = self._mesh
            self._mesh = {name: _still_pinned(record, before.get(name)) for name, record in records.items()}
            now = self._mesh
        return tuple(record for name, record in before.items() if _is_another(record, now.get(name)))

    def list(self) -> tuple[StoredModel, ...]:
        """All models in the order of their names, those that ship with Orbit among them."""
        return tuple(self._stored(self.registration(name)) for name in sorted(self._names()))

    def registration(self, name: str) -> ModelRecord:
        """The registration of `name`; raises `UnknownModelError`."""
        record = self._mesh.get(name)
        if record is not None:
            return record
        path = self._path(name)
        if path is not None and path.is_file():
            return ModelRecord.decode(name, path.read_bytes())
        if name in self._packaged():
            return self._ships(name)
        raise UnknownModelError(
            f"there is no model {name!r} here (known: {', '.join(sorted(self._names())[:10]) or 'none'})",
            remedy="`orbit models add` registers one",
        )

    def remove(self, name: str) -> None:
        """Forgets a model of this machine and frees its place in the cache, unless another name has the same files."""
        self.registration(name)
        path = self._path(name)
        if path is not None:
            path.unlink(missing_ok=True)
        self.sweep(apart_from=name)  # which stays a name if it ships with Orbit

    def sweep(self, *, apart_from: str = "") -> None:
        """Frees the place of files that no registration names. Those in use go when their last use ends."""
        hashes = self._named_hashes(self._names() - {apart_from})
        for path in self._cache.iterdir():
            if path.is_dir() and not path.name.startswith(".") and path.name not in hashes:
                with self._lock:
                    if self._held[path.name] > 0:
                        self._unwanted.add(path.name)
                    else:
                        self._drop(path.name)

    def _named_hashes(self, names: set[str]) -> set[str]:
        hashes: set[str] = set()
        for name in names:
            with contextlib.suppress(UnknownModelError):  # it was removed meanwhile
                manifest = self.registration(name).manifest
                hashes |= {manifest.hash} if manifest is not None else set()
        return hashes

    def _stored(self, record: ModelRecord) -> StoredModel:
        return StoredModel(
            record,
            cached=self._is_cached(record),
            fetching=record.name in self._arriving,
            barred=not record.admits(self._labels),
            shipped=record.source.startswith("package:"),
        )

    def _names(self) -> set[str]:
        return {path.stem for path in self._registered.glob("*.json")} | self._packaged() | self._mesh.keys()

    # ---- use ----

    def cached(self, name: str) -> bool:
        """Whether a load would need no fetch."""
        return self._is_cached(self.registration(name))

    def pull(self, name: str) -> Manifest:
        """Fetches a model anew, verifies it and caches it.

        A model that was fetched before must come out the same, else `CorruptModelError`: `add` it again to take
        what its source now holds. Raises `NoRoomError` and `ModelSourceError` as well.
        """
        with self._turns[name]:
            return self._fetch(self._admitted(name))

    def ensure(self, name: str) -> Manifest:
        """Fetches what is missing or damaged, so that a load needs no fetch. Raises what `pull` does."""
        try:
            return self.open(name).manifest
        except CorruptModelError:
            return self.pull(name)

    def open(self, name: str) -> OpenModel:
        """The files of a model, fetched if need be and verified. Raises what `pull` raises."""
        with self._turns[name]:
            registration = self._admitted(name)
            if not self._is_cached(registration) or registration.manifest is None:
                manifest = self._fetch(registration)
            else:
                manifest = replace(registration.manifest, name=name)
                self._verify(manifest)
            folder = self._cache / manifest.hash
            os.utime(folder)  # the time of last use
            return OpenModel(manifest, folder)

    @contextmanager
    def holding(self, manifest: Manifest) -> Iterator[None]:
        """While this lasts the model's files stay in the cache."""
        with self._lock:
            self._held[manifest.hash] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[manifest.hash] -= 1
                swept = self._held[manifest.hash] == 0 and manifest.hash in self._unwanted
                self._unwanted -= {manifest.hash} if swept else set()
            if swept:
                self.sweep()  # again, and not just a drop: a name may stand for these files by now

    # ---- fetching ----

    def _admitted(self, name: str) -> ModelRecord:
        record = self.registration(name)
        if not record.admits(self._labels):
            wanted = ", ".join(f"{key}={value}" for key, value in sorted(record.labels.items()))
            raise MisplacedModelError(
                f"the model {name} is kept to agents labelled {wanted}, and this one is not",
                remedy="name the model in the step's config, not by a reference: then it is placed where it may be",
            )
        return record

    def _fetch(self, record: ModelRecord) -> Manifest:
        source = self._source(record)
        listing = source.list()
        with (
            self._room(record, listing.size_bytes),
            tempfile.TemporaryDirectory(dir=self._cache, prefix=".fetch-") as scratch,
        ):
            folder = Path(scratch) / "model"
            folder.mkdir()
            source.fetch(listing, folder)
            shutil.rmtree(folder / ".hub", ignore_errors=True)
            manifest = describe(
                folder, listing.paths, name=record.name, source=record.source, revision=listing.revision
            )
            self._agree(record, manifest)
            target = self._cache / manifest.hash
            self._drop(manifest.hash)
            folder.rename(target)
        self._stamp(manifest)
        return manifest

    def _agree(self, record: ModelRecord, manifest: Manifest) -> None:
        """Pins a model to what was fetched first; later fetches must come out the same."""
        if record.manifest is not None:
            if record.manifest.hash != manifest.hash:
                raise CorruptModelError(
                    f"{record.source} no longer holds what {record.name} was pinned to",
                    remedy=f"`orbit models add {record.name} {record.source}` pins what it holds now",
                )
        elif record.name not in self._mesh:
            self._write(replace(record, manifest=manifest))
        else:
            if self._pin is not None:
                self._pin(record, manifest)
            with self._lock:
                if self._mesh.get(record.name) == record:  # not replaced meanwhile
                    self._mesh[record.name] = replace(record, manifest=manifest)

    def _source(self, record: ModelRecord) -> Source:
        source = parse_source(record.source)
        if isinstance(source, PackagedSource):
            return replace(source, root=self._packaged_root)
        if isinstance(source, HuggingFaceSource) and record.manifest is not None:
            # Pinned: the branch that was named may have moved on since.
            return replace(source, revision=record.manifest.revision)
        return source

    @contextmanager
    def _room(self, record: ModelRecord, size_bytes: int) -> Iterator[None]:
        """Evicts what was used least recently until `size_bytes` fit the limit and the disk, and keeps them free."""
        own = record.manifest.hash if record.manifest is not None else None
        with self._lock:
            self._evict_for(record.name, own, size_bytes)
            self._arriving[record.name] = size_bytes
        try:
            yield
        finally:
            with self._lock:
                del self._arriving[record.name]

    def _evict_for(self, name: str, own: str | None, size_bytes: int) -> None:
        cached = sorted((path for path in self._cache.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime_ns)
        cached = [path for path in cached if not path.name.startswith(".") and path.name != own]
        sizes = {path: _size_bytes(path) for path in cached}
        free_bytes = min(self._limit_bytes - sum(sizes.values()), shutil.disk_usage(self._cache).free)
        free_bytes -= sum(self._arriving.values())
        for path in cached:
            if size_bytes <= free_bytes:
                break
            if self._held[path.name] <= 0:
                self._drop(path.name)
                free_bytes += sizes[path]
        if size_bytes > free_bytes:
            raise NoRoomError(
                f"{name} needs {size_bytes / GIB:.2f} GiB on disk, the model cache has room for "
                f"{max(0, free_bytes) / GIB:.2f} GiB beside the models in use",
                remedy="remove models, or raise the cache's limit",
            )

    def _drop(self, model_hash: str) -> None:
        self._stamp_path(model_hash).unlink(missing_ok=True)
        shutil.rmtree(self._cache / model_hash, ignore_errors=True)

    # ---- verification ----

    def _is_cached(self, registration: ModelRecord) -> bool:
        return registration.manifest is not None and (self._cache / registration.manifest.hash).is_dir()

    def _verify(self, manifest: Manifest) -> None:
        """Hashes the files unless they are untouched since they were last hashed."""
        try:
            known: object = json.loads(self._stamp_path(manifest.hash).read_text())
            if known == self._stamps(manifest):
                return
        except (OSError, ValueError):
            pass  # no stamps, or a file is missing: reading the files says which
        verify(manifest, self._cache / manifest.hash)
        self._stamp(manifest)

    def _stamps(self, manifest: Manifest) -> _Stamps:
        stamps: _Stamps = {}
        for file in manifest.files:
            seen = (self._cache / manifest.hash / file.path).stat()
            stamps[file.path] = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
        return stamps

    def _stamp(self, manifest: Manifest) -> None:
        _write_atomically(self._stamp_path(manifest.hash), json.dumps(self._stamps(manifest)))

    def _stamp_path(self, model_hash: str) -> Path:
        return self._cache / f"{model_hash}.json"

    # ---- those that ship, and those of this machine ----

    def _packaged(self) -> set[str]:
        if not self._packaged_root.is_dir():
            return set()
        return {p.name for p in self._packaged_root.iterdir() if p.is_dir() and NAME_PATTERN.fullmatch(p.name)}

    def _ships(self, name: str) -> ModelRecord:
        """A model that ships with Orbit is pinned to what this version of Orbit ships; hashed once a process."""
        if name not in self._shipped:
            folder = PackagedSource(name, self._packaged_root).folder
            source = f"package:{name}"
            manifest = describe(folder.path, folder.list().paths, name=name, source=source, revision="")
            self._shipped[name] = ModelRecord(name, source, manifest=manifest)
        return self._shipped[name]

    def _path(self, name: str) -> Path | None:
        return self._registered / f"{name}.json" if NAME_PATTERN.fullmatch(name) else None

    def _write(self, record: ModelRecord) -> None:
        if self._shipped.get(record.name) == record:
            return
        path = self._path(record.name)
        assert path is not None
        _write_atomically(path, record.encode().decode())


def _still_pinned(record: ModelRecord, before: ModelRecord | None) -> ModelRecord:
    """A registration as read, with the pin that this machine saw before: a registration is pinned once, for ever."""
    if (
        record.manifest is None
        and before is not None
        and (before.source, before.added_ms)
        == (
            record.source,
            record.added_ms,
        )
    ):
        return replace(record, manifest=before.manifest)
    return record


def _is_another(before: ModelRecord, after: ModelRecord | None) -> bool:
    """Whether a model that was registered as `before` may hold other bytes now. Being pinned changes nothing."""
    if after is None or before.source != after.source:
        return True
    return before.manifest is not None and (after.manifest is None or after.manifest.hash != before.manifest.hash)


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write_atomically(path: Path, text: str) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(scratch, path)
