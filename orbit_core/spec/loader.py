"""The one way from a cluster file to a `Cluster`: every problem at once, each with its place, never a traceback.

    text → tree of nodes (yaml_source) → shorthands written out (shape) → models (structure) → checks

Each stage reports into one `Reporter` and hands on what it could read. No rule of the format lives here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from orbit_core.spec import yaml_source
from orbit_core.spec.catalog import Catalog, SatelliteInfo
from orbit_core.spec.checks import Checking, Mode, check_all
from orbit_core.spec.diagnostics import Diagnostic, Reporter, invalid_spec
from orbit_core.spec.models import Cluster
from orbit_core.spec.nodes import Node, from_plain
from orbit_core.spec.shape import shape
from orbit_core.spec.structure import read_structure

__all__ = ["Catalog", "Diagnostic", "LoadResult", "Mode", "SatelliteInfo", "load", "load_document"]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """`cluster` is None exactly when there are errors; warnings leave it there."""

    cluster: Cluster | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if found.severity == "error")

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(found for found in self.diagnostics if found.severity == "warning")

    def unwrap(self) -> Cluster:
        """The cluster. Raises `InvalidSpecError` with every error where there is none."""
        if self.cluster is None:
            raise invalid_spec(self.diagnostics)
        return self.cluster


def load(
    text: bytes | str,
    *,
    file: str = "<cluster>",
    catalog: Catalog | None = None,
    vault_names: Collection[str] | None = None,
    models: Collection[str] | None = None,
    mode: Mode = "validate",
) -> LoadResult:
    """The cluster in `text`.

    `file` is the name shown in diagnostics. Without a `catalog`, satellites are not looked at. `vault_names`: the
    secrets that the vault holds for this cluster, None where that is not known (in `submit`, as if it were empty).
    `models`: those that the mesh knows, None where that is not known.
    """
    reporter = Reporter(file)
    root = yaml_source.read(text, reporter)
    return _load(root, reporter, catalog, vault_names, mode, models)


def load_document(
    document: Mapping[str, object],
    *,
    file: str = "<document>",
    catalog: Catalog | None = None,
    vault_names: Collection[str] | None = None,
    mode: Mode = "validate",
) -> LoadResult:
    """The cluster in plain data (`ClusterFile.to_document()`, or parsed JSON), by the same rules as a file."""
    return _load(from_plain(document), Reporter(file), catalog, vault_names, mode)


def _load(
    root: Node | None,
    reporter: Reporter,
    catalog: Catalog | None,
    vault_names: Collection[str] | None,
    mode: Mode,
    models: Collection[str] | None = None,
) -> LoadResult:
    cluster: Cluster | None = None
    if root is not None:
        structure = read_structure(shape(root, reporter), reporter)
        if structure is not None:
            cluster = structure.cluster
            checking = Checking(structure, reporter, catalog=catalog, vault_names=vault_names, models=models, mode=mode)
            check_all(checking)
    return LoadResult(None if reporter.has_errors else cluster, reporter.diagnostics())
