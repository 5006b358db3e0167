"""The one error tree. Every error that a person or another process may see derives from `OrbitError`.

    OrbitError                      UNKNOWN
    ├── InvalidSpecError            INVALID_ARGUMENT     carries every problem of a cluster file
    ├── InvalidRequestError         INVALID_ARGUMENT     carries field violations
    ├── NotFoundError               NOT_FOUND
    ├── ConflictError               ALREADY_EXISTS
    ├── PreconditionError           FAILED_PRECONDITION
    ├── LimitError                  RESOURCE_EXHAUSTED
    ├── PermissionError_            PERMISSION_DENIED
    ├── NotLeaderError              UNAVAILABLE          names the leader where it is known
    ├── MeshUnreachableError        UNAVAILABLE          no coordinator answers
    ├── StoreError                  UNAVAILABLE          etcd cannot be reached or refuses
    │   ├── FencedError             ABORTED              this coordinator has been deposed
    │   ├── OutcomeUnknownError     UNAVAILABLE          a write that may or may not have landed
    │   └── StoreFullError          RESOURCE_EXHAUSTED   etcd is at its quota
    ├── BlobError                   DATA_LOSS
    ├── SecretError                 FAILED_PRECONDITION
    ├── ModelError                  FAILED_PRECONDITION  a model is unknown, corrupt or does not fit
    ├── ReferenceError_             FAILED_PRECONDITION  a `${{ }}` reference or an `if` has no value at run time
    └── InternalError               INTERNAL             a bug of ours, with its story

`status` names the gRPC status code of a class, `code` is stable and machine-readable, `remedy` says what to do.
A message says what happened and why; it never holds a secret's value. Nothing but error classes lives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class OrbitError(Exception):
    """Something went wrong in Orbit."""

    status: ClassVar[str] = "UNKNOWN"
    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, *, remedy: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.remedy = remedy
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class FieldViolation:
    """One problem with one field of a request: its path, and what is wrong with it."""

    __slots__ = ("description", "path")

    def __init__(self, path: str, description: str) -> None:
        self.path = path
        self.description = description

    def __repr__(self) -> str:
        return f"FieldViolation({self.path!r}, {self.description!r})"


class InvalidRequestError(OrbitError):
    """The request is not valid."""

    status = "INVALID_ARGUMENT"
    code = "invalid-request"

    def __init__(
        self,
        message: str | None = None,
        *,
        violations: Sequence[FieldViolation] = (),
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.violations = tuple(violations)


class InvalidSpecError(InvalidRequestError):
    """The cluster file is not valid."""

    code = "invalid-spec"


class NotFoundError(OrbitError):
    """There is no such thing."""

    status = "NOT_FOUND"
    code = "not-found"


class ConflictError(OrbitError):
    """It is there already."""

    status = "ALREADY_EXISTS"
    code = "conflict"


class PreconditionError(OrbitError):
    """The state does not allow this."""

    status = "FAILED_PRECONDITION"
    code = "precondition"


class LimitError(OrbitError):
    """A limit has been reached."""

    status = "RESOURCE_EXHAUSTED"
    code = "limit"


class PermissionError_(OrbitError):
    """Not allowed."""

    status = "PERMISSION_DENIED"
    code = "permission-denied"


class NotLeaderError(OrbitError):
    """This coordinator does not lead."""

    status = "UNAVAILABLE"
    code = "not-leader"

    def __init__(self, message: str | None = None, *, leader: str | None = None) -> None:
        super().__init__(message, remedy=f"ask the leader at {leader}" if leader else "wait for an election")
        self.leader = leader


class MeshUnreachableError(OrbitError):
    """No coordinator can be reached."""

    status = "UNAVAILABLE"
    code = "mesh-unreachable"


class StoreError(OrbitError):
    """etcd cannot be reached, or refuses."""

    status = "UNAVAILABLE"
    code = "store"


class FencedError(StoreError):
    """Another coordinator leads now: this one may write nothing."""

    status = "ABORTED"
    code = "fenced"


class OutcomeUnknownError(StoreError):
    """The write may or may not have landed; absence on a read proves nothing."""

    code = "outcome-unknown"


class StoreFullError(StoreError):
    """etcd is at its space quota."""

    status = "RESOURCE_EXHAUSTED"
    code = "store-full"


class BlobError(OrbitError):
    """A stored object cannot be had, or is not what its hash says."""

    status = "DATA_LOSS"
    code = "blob"


class SecretError(OrbitError):
    """A secret is missing or cannot be opened."""

    status = "FAILED_PRECONDITION"
    code = "secret"


class ModelError(OrbitError):
    """A model is unknown, corrupt or does not fit."""

    status = "FAILED_PRECONDITION"
    code = "model"


class ReferenceError_(OrbitError):
    """A reference has no value."""

    status = "FAILED_PRECONDITION"
    code = "reference"


class InternalError(OrbitError):
    """A bug of Orbit's."""

    status = "INTERNAL"
    code = "internal"
