"""`Cluster`: a whole cluster, its checks, and the way to YAML and back."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from pydantic import JsonValue

from orbit_core.spec import models
from orbit_core.spec.build.paths import python_path
from orbit_core.spec.build.plain import Duration, Secrets, duration, secrets
from orbit_core.spec.build.reading import retries_of, steps_of, triggers_of
from orbit_core.spec.build.step import Retry, Step
from orbit_core.spec.build.triggers import Trigger
from orbit_core.spec.catalog import Catalog
from orbit_core.spec.diagnostics import Diagnostic, invalid_spec
from orbit_core.spec.loader import LoadResult, Mode, load, load_document
from orbit_core.spec.models import VERSION
from orbit_core.spec.yaml_text import write


@dataclass(frozen=True, slots=True)
class Failure:
    """Steps that run once for each lineage that failed at `from_step`, or after it."""

    from_step: Step | str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A workflow of satellites, `<project>/<name>`. Making one checks nothing: `check`, `build` and a mesh do.

    `secrets`: names that lie in the vault, or a mapping: a literal value (which moves into the vault when the cluster
    is submitted), a reference to another name in the vault, or None.
    """

    identifier: str
    sla: Duration
    triggers: Sequence[Trigger]
    steps: Sequence[Step]
    title: str | None = None
    description: str | None = None
    objective: Literal["cost", "time", "availability"] | None = None
    budget_usd: float | None = None
    priority: int | None = None
    retries: Retry | int | None = None
    secrets: Secrets = field(default=(), repr=False)
    logs: Sequence[Step] = ()
    failure: Failure | None = None

    def check(
        self, *, catalog: Catalog | None = None, vault_names: Collection[str] | None = None, mode: Mode = "validate"
    ) -> tuple[Diagnostic, ...]:
        """Every problem, errors and warnings, each with its place among the objects: `steps[2].config["url"]`.

        Without a `catalog`, what satellites want of their config is not looked at; `vault_names` as for `load`.
        """
        return tuple(_in_python(each) for each in self._load(catalog, vault_names, mode).diagnostics)

    def build(self, *, catalog: Catalog | None = None) -> models.Cluster:
        """What the cluster means, every default filled in. Raises `InvalidSpecError` with every problem."""
        loaded = self._load(catalog, None, "validate")
        if loaded.cluster is None:
            raise invalid_spec([_in_python(each) for each in loaded.diagnostics])
        return loaded.cluster

    def to_document(self) -> dict[str, JsonValue]:
        """The file as plain data, as it was written here. Raises `InvalidSpecError` for values that are not plain."""
        written: dict[str, JsonValue | None] = {
            "identifier": self.identifier,
            "title": self.title,
            "description": self.description,
            "sla": duration(self.sla),
            "trigger": [each.document() for each in self.triggers],
            "objective": self.objective,
            "budget": self.budget_usd,
            "priority": self.priority,
            "retries": self.retries.document() if isinstance(self.retries, Retry) else self.retries,
            "secrets": secrets(self.secrets) or None,
            "satellites": _steps(self.steps, "steps"),
            "logs": {"satellites": _steps(self.logs, "logs")} if self.logs else None,
            "failure": _failure(self.failure) if self.failure else None,
        }
        return {"version": VERSION, "cluster": {key: value for key, value in written.items() if value is not None}}

    def to_yaml(self) -> str:
        """The cluster as a file. Literal secrets stand in it: see `secrets`."""
        return write(self.to_document())

    @classmethod
    def from_yaml(cls, text: str | bytes, *, file: str = "<cluster>") -> Cluster:
        """The cluster of a file, without what is the default anyway; it builds to what the file loads to.

        Raises `InvalidSpecError`.
        """
        said = cast("dict[str, Any]", load(text, file=file).unwrap().to_document())
        failure = said.get("failure")
        return cls(
            said["identifier"],
            sla=said["sla"],
            triggers=triggers_of(said["trigger"]),
            steps=steps_of(said["satellites"]),
            title=said.get("title"),
            description=said.get("description"),
            objective=said.get("objective"),
            budget_usd=said.get("budget"),
            priority=said.get("priority"),
            retries=retries_of(said.get("retries")),
            secrets=said.get("secrets", ()),
            logs=steps_of(said["logs"]["satellites"]) if "logs" in said else (),
            failure=Failure(failure["from"], steps_of(failure["satellites"])) if failure else None,
        )

    @property
    def file(self) -> str:
        """What problems name as their file."""
        return f"Cluster({self.identifier!r})"

    def retell(self, path: str, text: str) -> tuple[str, str]:
        """A problem of `to_yaml()` that somebody else found: its place among these objects, and all of it in a line.

        `path` is the place in the file, `text` begins with `file:line:column: error: path:` or the like.
        """
        place = python_path(path)
        told = re.fullmatch(rf".*?: (error|warning): (?:{re.escape(path)}: )?(.*)", text, re.DOTALL)
        severity, description = told.groups() if told else ("error", text)
        return place, f"{self.file}: {severity}: {place}{': ' if place else ''}{description}"

    def _load(self, catalog: Catalog | None, vault_names: Collection[str] | None, mode: Mode) -> LoadResult:
        return load_document(self.to_document(), file=self.file, catalog=catalog, vault_names=vault_names, mode=mode)


def _in_python(found: Diagnostic) -> Diagnostic:
    return replace(found, path=python_path(found.path))


def _steps(steps: Sequence[Step], place: str) -> list[JsonValue]:
    return [step.document(f"{place}[{index}]") for index, step in enumerate(steps)]


def _failure(failure: Failure) -> dict[str, JsonValue]:
    start = failure.from_step.identifier if isinstance(failure.from_step, Step) else failure.from_step
    return {"from": start, "satellites": _steps(failure.steps, "failure.steps")}
