"""Where a cluster that is sent comes from: a file, its bytes, or Python objects (`orbit_core.spec.build`).

Whoever sends objects has no lines: what the mesh says of the text that was sent is retold with places among them.
What objects there are is not known here, so that a client does not load the format.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from orbit_core.client.types import Diagnostic
from orbit_core.errors import FieldViolation, InvalidRequestError, InvalidSpecError, LimitError
from orbit_core.limits import SPEC_MAX_BYTES


@runtime_checkable
class ClusterObject(Protocol):
    """What this needs of `orbit_core.spec.build.Cluster`."""

    @property
    def file(self) -> str: ...

    def to_yaml(self) -> str: ...

    def retell(self, path: str, text: str) -> tuple[str, str]: ...


#: A path, the bytes of a cluster file, or a cluster made of Python objects.
ClusterSource: TypeAlias = str | Path | bytes | ClusterObject


def content_of(source: ClusterSource, file_name: str = "") -> tuple[bytes, str]:
    """The bytes to send and the name for messages. Refuses what the coordinator would refuse for its size."""
    if isinstance(source, bytes):
        content, name = source, file_name or "cluster.yml"
    elif isinstance(source, ClusterObject):
        content, name = source.to_yaml().encode(), source.file
    else:
        try:
            content, name = Path(source).read_bytes(), file_name or str(source)
        except OSError as error:
            raise InvalidRequestError(
                f"{source} cannot be read: {error.strerror}", remedy="name a cluster file"
            ) from error
    if len(content) > SPEC_MAX_BYTES:
        raise LimitError(
            f"{name} has {len(content)} bytes; a cluster file may have {SPEC_MAX_BYTES}",
            remedy="large texts belong into objects or files, not into the cluster file",
        )
    return content, name


def retold(source: ClusterSource, diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """`diagnostics` as whoever wrote `source` reads them."""
    if not isinstance(source, ClusterObject):
        return diagnostics
    return tuple(_retold(source, each) for each in diagnostics)


@contextmanager
def problems_of(source: ClusterSource) -> Generator[None, None, None]:
    """An `InvalidSpecError` from inside tells its problems as whoever wrote `source` reads them."""
    try:
        yield
    except InvalidSpecError as error:
        if not isinstance(source, ClusterObject) or not error.violations:
            raise
        violations = [FieldViolation(*source.retell(each.path, each.description)) for each in error.violations]
        told = "\n".join(each.description for each in violations)
        raise InvalidSpecError(
            f"the cluster is not valid:\n{told}", violations=violations, remedy=error.remedy
        ) from error


def _retold(source: ClusterObject, diagnostic: Diagnostic) -> Diagnostic:
    path, text = source.retell(diagnostic.path, diagnostic.text)
    return replace(diagnostic, file=source.file, line=0, column=0, path=path, text=text)
