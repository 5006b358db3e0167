"""Sources of models as people write them, made into what the mesh takes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from orbit_core.errors import InvalidRequestError
from orbit_core.ids import NAME_PATTERN
from orbit_core.store.models import SOURCE_FORMS, check_source

_KINDS: Final = ("folder:", "s3://", "hf:", "package:")


def full_source(source: str, revision: str = "") -> str:
    """A source as the mesh writes it: `owner/name` is a repository, a path that is there a folder of this machine."""
    if not source.startswith(_KINDS):
        path = Path(source).expanduser()
        if path.is_dir() or source.startswith((".", "/", "~")):
            source = f"folder:{path.absolute()}"
        elif source.count("/") >= 1:
            source = f"hf:{source}"
        else:
            raise InvalidRequestError(f"{source!r} names no source of models, and no folder", remedy=SOURCE_FORMS)
    if revision:
        if not source.startswith("hf:") or "@" in source:
            raise InvalidRequestError("--revision is for a Hugging Face repository that names none itself")
        source = f"{source}@{revision}"
    if source.startswith("folder:"):
        source = f"folder:{Path(source.removeprefix('folder:')).expanduser().absolute()}"
    check_source(source)
    return source


def is_name(text: str) -> bool:
    """Whether `text` names a model that the mesh knows, and not a place that one comes from."""
    return bool(NAME_PATTERN.fullmatch(text)) and not Path(text).is_dir()
