"""The broken files beside this module: how one is read, and what is expected of it.

Each `broken/<name>.yml` has its exact diagnostics in `broken/<name>.txt`. A first line `# mode: submit` or
`# vault: NAME NAME` says how it is loaded. After a new file or a better message,

    python -m tests.unit.spec.broken_files

writes what is missing or different; read it before it is committed: it is the specification.
"""

from __future__ import annotations

import re
from pathlib import Path

from orbit_core.spec.loader import LoadResult, load
from tests.unit.spec.fake_catalog import FakeCatalog

FOLDER = Path(__file__).parent / "broken"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yml"))


def load_broken(name: str) -> LoadResult:
    text = (FOLDER / f"{name}.yml").read_bytes()
    options = dict(re.findall(r"^# (mode|vault): (.*)$", text.decode("utf-8", "replace"), re.MULTILINE))
    return load(
        text,
        file=f"{name}.yml",
        catalog=FakeCatalog(),
        vault_names=options["vault"].split() if "vault" in options else None,
        mode="submit" if options.get("mode") == "submit" else "validate",
    )


def told(result: LoadResult) -> str:
    return "".join(f"{diagnostic.format()}\n" for diagnostic in result.diagnostics)


def expected(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text()


def write_expected() -> None:
    for name in names():
        path, text = FOLDER / f"{name}.txt", told(load_broken(name))
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.name)


if __name__ == "__main__":
    write_expected()
