"""What the checks share: the cluster, its blocks of steps, and where each step stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from orbit_core.spec.catalog import Catalog
from orbit_core.spec.diagnostics import Reporter
from orbit_core.spec.graph import Graph
from orbit_core.spec.models import Step
from orbit_core.spec.nodes import Node, Path
from orbit_core.spec.structure import Structure

Mode: TypeAlias = Literal["validate", "submit"]
BlockName: TypeAlias = Literal["satellites", "failure", "logs"]

_GRAPH_KEYS = ("identifier", "needs", "gather")


@dataclass(frozen=True, slots=True)
class Block:
    """A chain of steps of its own. `path`: where its list stands in the shaped tree.

    `trusted`: whether all that makes up its graph could be read.
    """

    name: BlockName
    path: Path
    steps: tuple[Step, ...]
    graph: Graph
    trusted: bool


class Checking:
    """One run of the checks. `vault_names` is None where the vault is not known, `models` where the mesh is not."""

    def __init__(
        self,
        structure: Structure,
        reporter: Reporter,
        *,
        catalog: Catalog | None = None,
        vault_names: Collection[str] | None = None,
        models: Collection[str] | None = None,
        mode: Mode = "validate",
    ) -> None:
        self.structure = structure
        self.cluster = structure.cluster
        self.reporter = reporter
        self.catalog = catalog
        self.vault_names = vault_names
        self.models = models
        self.mode: Mode = mode

    @cached_property
    def main(self) -> Block:
        return self._block("satellites", ("cluster", "satellites"), self.cluster.satellites)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """All that the cluster has, in the order of their meaning."""
        blocks = [self.main]
        if self.cluster.failure:
            path = ("cluster", "failure", "satellites")
            blocks.append(self._block("failure", path, self.cluster.failure.satellites))
        if self.cluster.logs:
            blocks.append(self._block("logs", ("cluster", "logs"), self.cluster.logs))
        return tuple(blocks)

    def steps(self) -> Iterator[tuple[Block, Path, Step]]:
        """Every step with its block and its place."""
        for block in self.blocks:
            for index, step in enumerate(block.steps):
                yield block, (*block.path, index), step

    def node(self, *path: str | int) -> Node:
        """The node at `path` of the shaped tree, or the nearest one above it."""
        return self.structure.root.nearest(*path)

    def block_of(self, identifier: str) -> Block | None:
        """The block that has a step of that identifier."""
        return next((block for block in self.blocks if identifier in block.graph), None)

    @cached_property
    def is_complete(self) -> bool:
        """Whether the identifiers of all steps are known."""
        return not any(
            place[-1] in ("satellites", "logs", "failure", "cluster")
            or isinstance(place[-1], int)
            or (place[-1] == "identifier" and len(place) > 2)
            for place in self.structure.incomplete
        )

    def _block(self, name: BlockName, path: Path, steps: tuple[Step, ...]) -> Block:
        trusted = not any(
            place == path[: len(place)]
            or (place[: len(path)] == path and len(place) == len(path) + 1)
            or (place[: len(path)] == path and place[len(path) + 1] in _GRAPH_KEYS)
            for place in self.structure.incomplete
        )
        return Block(name, path, steps, Graph(steps), trusted)
