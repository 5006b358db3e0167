"""Which mesh is meant: addresses given in words, in the environment, or in the context file that `orbit up` writes.

`--address` wins, then `ORBIT_ADDRESS`, then the context that `ORBIT_CONTEXT` names, then the current one, both of
`context.json` under `ORBIT_HOME` (by default the user's data directory). The file holds addresses, and whose mesh it is
where one process keeps it: a context whose process was killed means nothing any more, and is left out. No credential
belongs into it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from orbit_core.errors import FieldViolation, InvalidRequestError, MeshUnreachableError, NotFoundError
from orbit_core.ids import NAME_PATTERN
from orbit_core.owners import Owner

DEFAULT_CONTEXT: Final = "local"
_FILE_VERSION: Final = 1
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Context:
    """A mesh by name. `current`: the one that is meant where none is named."""

    name: str
    addresses: tuple[str, ...]
    current: bool


def orbit_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Where Orbit keeps what is this user's: `ORBIT_HOME`, or the platform's data directory."""
    return Path(environment.get("ORBIT_HOME") or platformdirs.user_data_dir("orbit", appauthor=False))


def parse_addresses(text: str) -> tuple[str, ...]:
    """`host:port[,host:port…]`. Raises `InvalidRequestError` for anything else."""
    addresses = tuple(part.strip() for part in text.split(",") if part.strip())
    for address in addresses or ("",):
        matched = _ADDRESS.fullmatch(address)
        if not matched or not 0 < int(matched[1]) < 65_536:
            raise InvalidRequestError(
                f"{address!r} is not an address of a coordinator",
                violations=[FieldViolation("address", "expected host:port, or several with commas")],
                remedy="write it like 127.0.0.1:7070",
            )
    return addresses


def resolve_addresses(given: str | None = None, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The coordinators to talk to. Raises `MeshUnreachableError` where no mesh is named anywhere."""
    named = given or environment.get("ORBIT_ADDRESS")
    if named:
        return parse_addresses(named)
    home, wanted = orbit_home(environment), environment.get("ORBIT_CONTEXT")
    addresses = context_named(home, wanted).addresses if wanted else read_context(home)
    if not addresses:
        raise MeshUnreachableError(
            "no mesh is known here",
            remedy="start one with `orbit up`, or name one with --address or ORBIT_ADDRESS",
        )
    return addresses


def read_context(home: Path) -> tuple[str, ...]:
    """The addresses of the current context; empty where there is none. A file that is not one counts as none."""
    contexts, current = _load(home)
    return tuple(contexts.get(current, {}).get("addresses", ()))


def read_contexts(home: Path) -> tuple[Context, ...]:
    """All that there are, by name."""
    contexts, current = _load(home)
    return tuple(Context(name, tuple(contexts[name]["addresses"]), name == current) for name in sorted(contexts))


def context_named(home: Path, name: str) -> Context:
    """Raises `NotFoundError`."""
    found = next((each for each in read_contexts(home) if each.name == name), None)
    if found is None:
        raise NotFoundError(
            f"there is no context {name!r}", remedy="`orbit context list` shows them, `orbit context set` makes one"
        )
    return found


def set_context(home: Path, name: str, addresses: str) -> Context:
    """Make or change a context, and make it the current one. Raises `InvalidRequestError`."""
    if not NAME_PATTERN.fullmatch(name):
        violation = FieldViolation("name", "expected lower-case letters, digits, `-`, `_`, `.`")
        raise InvalidRequestError(f"{name!r} is not a name for a context", violations=[violation])
    write_context(home, parse_addresses(addresses), name)
    return context_named(home, name)


def use_context(home: Path, name: str) -> Context:
    """Make `name` the current one. Raises `NotFoundError`."""
    found = context_named(home, name)
    write_context(home, found.addresses, name)
    return context_named(home, name)


def delete_context(home: Path, name: str) -> bool:
    """Forget `name`; whether it was there. The mesh that it means goes on."""
    found = next((each for each in read_contexts(home) if each.name == name), None)
    if found is not None:
        remove_context(home, found.addresses, name)
    return found is not None


def write_context(
    home: Path, addresses: Sequence[str], name: str = DEFAULT_CONTEXT, owner: Owner | None = None
) -> None:
    """Make `name` the current context. `owner`: the process that the mesh ends with, if it ends with one."""
    contexts, _ = _load(home)
    contexts[name] = {"addresses": list(addresses), **({"owner": owner.to_json()} if owner else {})}
    _store(home, contexts, name)


def remove_context(home: Path, addresses: Sequence[str], name: str = DEFAULT_CONTEXT) -> None:
    """Forget `name`, if it still means `addresses`: another mesh may have taken the name over since."""
    contexts, current = _load(home)
    if contexts.get(name, {}).get("addresses") != list(addresses):
        return
    del contexts[name]
    _store(home, contexts, current if current in contexts else next(iter(contexts), DEFAULT_CONTEXT))


@contextlib.contextmanager
def context_file(home: Path, addresses: Sequence[str], name: str = DEFAULT_CONTEXT) -> Generator[Path, None, None]:
    """The context file names this mesh for as long as the block lasts, and no longer than this process."""
    write_context(home, addresses, name, Owner.this_process())
    try:
        yield home / "context.json"
    finally:
        remove_context(home, addresses, name)


def _load(home: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """Contexts by name, and the current one's; those that a killed process left are not among them."""
    try:
        content = json.loads((home / "context.json").read_bytes())
        if content["version"] != _FILE_VERSION:
            return {}, DEFAULT_CONTEXT
        found = {str(name): _entry(each) for name, each in content["contexts"].items()}
        current = str(content["current"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, DEFAULT_CONTEXT
    contexts = {name: each for name, (each, owner) in found.items() if owner is None or not owner.is_gone()}
    if current in found and current not in contexts:
        current = next(iter(contexts), DEFAULT_CONTEXT)
    return contexts, current


def _entry(written: Mapping[str, Any]) -> tuple[dict[str, Any], Owner | None]:
    owner = Owner.from_json(written.get("owner"))
    entry: dict[str, Any] = {"addresses": [*map(str, written["addresses"])]}
    return (entry | {"owner": owner.to_json()} if owner else entry), owner


def _store(home: Path, contexts: dict[str, dict[str, Any]], current: str) -> None:
    """Replace the file in one go, so that a reader sees the old one or the new one."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {"version": _FILE_VERSION, "current": current, "contexts": contexts}
    handle, temporary = tempfile.mkstemp(dir=home, prefix=".context-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    os.replace(temporary, home / "context.json")
