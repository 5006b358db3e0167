"""`${{ … }}` references as objects: in a value they stand for themselves, in an f-string for their text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from orbit_core.errors import InvalidSpecError
from orbit_core.spec.references import (
    Access,
    ClusterReference,
    FailureReference,
    OutputReference,
    OutputsReference,
    Reference,
    SecretReference,
    TriggerReference,
)


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference. `ref["key"]` and `ref[0]` go inside what it stands for; `str()` writes it as a file does."""

    reference: Reference

    def __getitem__(self, key: Access) -> Ref:
        """Raises `InvalidSpecError` where there is nothing inside to go to, or the key cannot be written."""
        if not isinstance(self.reference, OutputReference | OutputsReference | TriggerReference):
            raise InvalidSpecError(f"`{self.reference}` has nothing inside that could be referred to")
        if isinstance(key, str) and "'" in key and '"' in key:
            raise InvalidSpecError("no reference can name a key that holds quotes of both kinds")
        if isinstance(key, int) and key < 0:
            raise InvalidSpecError("indexes of a reference count from the beginning", remedy="write 0 or more")
        return Ref(replace(self.reference, path=(*self.reference.path, key)))

    def __str__(self) -> str:
        return f"${{{{ {self.reference} }}}}"


#: The payload of the run: `trigger["day"]`.
trigger = Ref(TriggerReference())


def secret(name: str) -> Ref:
    """A secret of the cluster."""
    return Ref(SecretReference(name))


def of_run(field: Literal["identifier", "trigger", "run-id", "sla", "deadline"]) -> Ref:
    """A fact of the run: `cluster.<field>`."""
    return Ref(ClusterReference(field))


def of_failure(field: Literal["error", "satellite"]) -> Ref:
    """In a failure step: what went wrong, or where."""
    return Ref(FailureReference(field))
