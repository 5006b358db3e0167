"""The models of one machine: which are registered, which lie in the cache, and that they are what they were.

    <root>/registered/<name>.json    a registration: source, and the manifest once it has been fetched
    <root>/cache/<hash>/…            the files of one model, under the hash of its manifest
    <root>/cache/<hash>.json         what was seen of each file when it was last hashed

A file is hashed when it is fetched, and again at a load if its size, times or inode are not those it had then. What
was used least recently leaves the cache when a new model needs the room. Everything here blocks: call it on a thread.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from orbit_agent.inference.errors import CorruptModelError, NoRoomError, UnknownModelError
from orbit_agent.models.manifest import Manifest, describe, verify
from orbit_agent.models.sources import PACKAGED_ROOT, HuggingFaceSource, PackagedSource, Source, parse_source
from orbit_core.errors import InvalidRequestError
from orbit_core.ids import NAME_PATTERN
from orbit_core.limits import GIB

CACHE_LIMIT_BYTES: Final = 64 * GIB

_Stamps = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Registration:
    """A model by name. `manifest` is None until its files were first fetched; then it is pinned."""

    name: str
    source: str
    manifest: Manifest | None = None


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A registered model, and whether its files are here."""

    registration: Registration
    cached: bool


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model whose files lie in `folder` and have been verified."""

    manifest: Manifest
    folder: Path


class ModelStore:
    """Thread-safe. One process should write to a root at a time; others may read."""

    def __init__(
        self, root: Path, *, cache_limit_bytes: int = CACHE_LIMIT_BYTES, packaged_root: Path = PACKAGED_ROOT
    ) -> None:
        self._registered = root / "registered"
        self._cache = root / "cache"
        self._limit_bytes = cache_limit_bytes
        self._packaged_root = packaged_root
        self._lock = threading.Lock()
        self._fetching: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._held: Counter[str] = Counter()
        self._shipped: dict[str, Registration] = {}
        self._registered.mkdir(parents=True, exist_ok=True)
        self._cache.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, source: str) -> Registration:
        """Registers a model; nothing is fetched yet. The same name again replaces the registration."""
        if not NAME_PATTERN.fullmatch(name):
            raise InvalidRequestError(f"{name!r} is no name for a model", remedy="a-z, 0-9, dots, dashes")
        parse_source(source)
        registration = Registration(name, source)
        self._write(registration)
        return registration

    def list(self) -> tuple[StoredModel, ...]:
        """All models in the order of their names, those that ship with Orbit among them."""
        names = {path.stem for path in self._registered.glob("*.json")} | self._packaged()
        registrations = [self.registration(name) for name in sorted(names)]
        return tuple(StoredModel(r, self._is_cached(r)) for r in registrations)

    def registration(self, name: str) -> Registration:
        """The registration of `name`; raises `UnknownModelError`."""
        path = self._path(name)
        if path is not None and path.is_file():
            data = json.loads(path.read_text(encoding="utf-8"))
            manifest = data["manifest"]
            return Registration(name, data["source"], None if manifest is None else Manifest.from_json(manifest))
        if name in self._packaged():
            return self._ships(name)
        known = sorted({path.stem for path in self._registered.glob("*.json")} | self._packaged())
        raise UnknownModelError(
            f"there is no model {name!r} here (known: {', '.join(known[:10]) or 'none'})",
            remedy="`orbit models add` registers one",
        )

    def cached(self, name: str) -> bool:
        """Whether a load would need no fetch."""
        return self._is_cached(self.registration(name))

    def pull(self, name: str) -> Manifest:
        """Fetches a model anew, verifies it and caches it.

        A model that was fetched before must come out the same, else `CorruptModelError`: `add` it again to take
        what its source now holds. Raises `NoRoomError` and `ModelSourceError` as well.
        """
        with self._fetching[name]:
            return self._fetch(self.registration(name))

    def open(self, name: str) -> OpenModel:
        """The files of a model, fetched if need be and verified. Raises what `pull` raises."""
        with self._fetching[name]:
            registration = self.registration(name)
            if not self._is_cached(registration) or registration.manifest is None:
                manifest = self._fetch(registration)
            else:
                manifest = replace(registration.manifest, name=name)
                self._verify(manifest)
            folder = self._cache / manifest.hash
            os.utime(folder)  # the time of last use
            return OpenModel(manifest, folder)

    def remove(self, name: str) -> None:
        """Forgets a model and frees its place in the cache, unless another name has the same files."""
        registration = self.registration(name)
        path = self._path(name)
        if path is not None:
            path.unlink(missing_ok=True)
        manifest = registration.manifest
        others = [stored.registration for stored in self.list() if stored.registration.name != name]
        if manifest is not None and manifest.hash not in {o.manifest.hash for o in others if o.manifest}:
            self._drop(manifest.hash)

    @contextmanager
    def holding(self, manifest: Manifest) -> Iterator[None]:
        """While this lasts the model is not evicted from the cache."""
        with self._lock:
            self._held[manifest.hash] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[manifest.hash] -= 1

    # ---- fetching ----

    def _fetch(self, registration: Registration) -> Manifest:
        source = self._source(registration)
        listing = source.list()
        self._make_room(listing.size_bytes, registration)
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".fetch-") as scratch:
            folder = Path(scratch) / "model"
            folder.mkdir()
            source.fetch(listing, folder)
            shutil.rmtree(folder / ".hub", ignore_errors=True)
            manifest = describe(
                folder, listing.paths, name=registration.name, source=registration.source, revision=listing.revision
            )
            pinned = registration.manifest
            if pinned is not None and pinned.hash != manifest.hash:
                raise CorruptModelError(
                    f"{registration.source} no longer holds what {registration.name} was pinned to",
                    remedy=f"`orbit models add {registration.name} {registration.source}` pins what it holds now",
                )
            target = self._cache / manifest.hash
            self._drop(manifest.hash)
            folder.rename(target)
        self._stamp(manifest)
        if registration is not self._shipped.get(registration.name):
            self._write(replace(registration, manifest=manifest))
        return manifest

    def _source(self, registration: Registration) -> Source:
        source = parse_source(registration.source)
        if isinstance(source, PackagedSource):
            return replace(source, root=self._packaged_root)
        if isinstance(source, HuggingFaceSource) and registration.manifest is not None:
            # Pinned: the branch that was named may have moved on since.
            return replace(source, revision=registration.manifest.revision)
        return source

    def _make_room(self, size_bytes: int, registration: Registration) -> None:
        """Evicts what was used least recently until `size_bytes` fit the limit and the disk."""
        own = registration.manifest.hash if registration.manifest is not None else None
        with self._lock:
            held = {key for key, count in self._held.items() if count > 0}
        cached = sorted((path for path in self._cache.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime_ns)
        cached = [path for path in cached if not path.name.startswith(".") and path.name != own]
        sizes = {path: _size_bytes(path) for path in cached}
        free_bytes = min(self._limit_bytes - sum(sizes.values()), shutil.disk_usage(self._cache).free)
        for path in cached:
            if size_bytes <= free_bytes:
                break
            if path.name not in held:
                self._drop(path.name)
                free_bytes += sizes[path]
        if size_bytes > free_bytes:
            raise NoRoomError(
                f"{registration.name} needs {size_bytes / GIB:.2f} GiB on disk, the model cache has room for "
                f"{max(0, free_bytes) / GIB:.2f} GiB beside the models in use",
                remedy="remove models, or raise the cache's limit",
            )

    def _drop(self, model_hash: str) -> None:
        self._stamp_path(model_hash).unlink(missing_ok=True)
        shutil.rmtree(self._cache / model_hash, ignore_errors=True)

    # ---- verification ----

    def _is_cached(self, registration: Registration) -> bool:
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

    # ---- registrations ----

    def _packaged(self) -> set[str]:
        if not self._packaged_root.is_dir():
            return set()
        return {p.name for p in self._packaged_root.iterdir() if p.is_dir() and NAME_PATTERN.fullmatch(p.name)}

    def _ships(self, name: str) -> Registration:
        """A model that ships with Orbit is pinned to what this version of Orbit ships; hashed once a process."""
        if name not in self._shipped:
            folder = PackagedSource(name, self._packaged_root).folder
            source = f"package:{name}"
            manifest = describe(folder.path, folder.list().paths, name=name, source=source, revision="")
            self._shipped[name] = Registration(name, source, manifest)
        return self._shipped[name]

    def _path(self, name: str) -> Path | None:
        return self._registered / f"{name}.json" if NAME_PATTERN.fullmatch(name) else None

    def _write(self, registration: Registration) -> None:
        manifest = registration.manifest
        data = {"source": registration.source, "manifest": None if manifest is None else manifest.to_json()}
        path = self._path(registration.name)
        assert path is not None
        _write_atomically(path, json.dumps(data, indent=2))


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write_atomically(path: Path, text: str) -> None:
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(scratch, path)
