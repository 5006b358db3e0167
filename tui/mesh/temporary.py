"""The temporary directories of meshes: made, removed, and those of killed processes cleared away by the next one.

Each says in a file of its own whose it is; a directory without that file is nobody's to remove.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from orbit_core.owners import Owner

_PREFIX: Final = "orbit-"
_OWNER_FILE: Final = "owner.json"


def make() -> Path:
    """A directory for this process. What killed ones left goes."""
    clear()
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    (made / _OWNER_FILE).write_text(json.dumps(Owner.this_process().to_json()))
    return made


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def clear() -> list[Path]:
    """Removes the directories of processes that have ended without doing so; which those were."""
    left = [each.parent for each in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER_FILE}") if _is_nobodys(each)]
    for directory in left:
        remove(directory)
    return left


def _is_nobodys(file: Path) -> bool:
    try:
        if file.parent.lstat().st_uid != os.getuid():
            return False  # what another user calls so is not looked into
        owner = Owner.from_json(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return False
    return owner is not None and owner.is_gone()
