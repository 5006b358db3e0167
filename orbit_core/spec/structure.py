"""From a shaped tree to the models, with every problem at once.

What a model refuses is reported and then left out, or filled with a stand-in where it is required, so that the
checks which follow still see the rest of the file. `incomplete` tells them which places not to trust.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orbit_core.spec.diagnostics import DIAGNOSTICS_MAX, Reporter, any_of, show
from orbit_core.spec.durations import EXPECTED as DURATION_EXPECTED
from orbit_core.spec.durations import format_duration_ms
from orbit_core.spec.models import VERSION, Cluster, ClusterFile, Failure, Gather, Resources, RetryPolicy, Step
from orbit_core.spec.models import triggers as trigger_models
from orbit_core.spec.models.base import DOCUMENT, NAME_EXPECTED, key_of
from orbit_core.spec.models.naming import CLUSTER_NAME_EXPECTED
from orbit_core.spec.nodes import Node, Path
from orbit_core.spec.references import close_match
from orbit_core.spec.shape import TRIGGER_KINDS, Shaped
from orbit_core.spec.text_error import TextError

_ROUNDS_MAX: Final = 8
STAND_IN: Final = "orbit-stand-in"

_TRIGGERS: Final[dict[str, type[BaseModel]]] = {
    "cron": trigger_models.CronTrigger,
    "api-call": trigger_models.ApiCallTrigger,
    "s3-upload": trigger_models.S3UploadTrigger,
    "webhook": trigger_models.WebhookTrigger,
    "cluster-finished": trigger_models.ClusterFinishedTrigger,
}
_EXPECTED: Final = {
    "version": VERSION,
    "cluster": "a mapping",
    "cluster-finished": "the identifier of a cluster",
    "sla": DURATION_EXPECTED,
    "trigger": f"{any_of(TRIGGER_KINDS)}, or a list of them",
    "retries": "a whole number, or a mapping with max-retries, backoff, delay, max-delay and jitter",
    "satellites": "a list of steps",
    "uses": "satellite/<project>/<name>",
    "from": "the identifier of a step",
    "needs": "the identifier of a step, or a list of them",
    "gather": "true, or a mapping with over and when",
    "if": "a condition as text",
    "bucket": "the name of a bucket",
    "path": "a path like /reports/new",
}
_TYPES: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "is_instance_of": "text",
    "dataclass_type": "text",
}
_DURATIONS: Final = ("sla", "delay", "timeout", "max-delay")


@dataclass(frozen=True, slots=True)
class Structure:
    """A cluster as far as it could be read. `root` is the shaped tree that it was read from, stand-ins included.

    `incomplete`: paths (of the shaped tree) where something was left out or stood in for.
    """

    cluster: Cluster
    root: Node
    incomplete: frozenset[Path]

    def is_incomplete(self, *path: str | int) -> bool:
        """Whether something at `path`, below it, or all that it stands in was left out."""
        return any(place[: len(path)] == path[: len(place)] for place in self.incomplete)


def read_structure(shaped: Shaped, reporter: Reporter) -> Structure | None:
    """The cluster in `shaped`, None where there is too little of one. Everything wrong is in `reporter`."""
    root = shaped.root
    left_out: set[Path] = set(shaped.incomplete)
    for _ in range(_ROUNDS_MAX):
        try:
            file = ClusterFile.model_validate(root.plain(), context=DOCUMENT, by_name=False, by_alias=True)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
        else:
            return Structure(file.cluster, root, frozenset(left_out))
        for problem in problems:
            path = _path(problem)
            if not any(path[: len(place)] == place for place in left_out):
                _report(problem, path, root, shaped.empty, reporter)
        if len(problems) > DIAGNOSTICS_MAX:
            return None  # nobody reads more than that, and leaving each out takes a copy of the list it is in
        for problem in problems:
            path = _path(problem)
            root = _leave_out(root, path)
            left_out.add(path)
        if root.get("cluster") is None:
            return None
    return None


def _path(problem: ErrorDetails) -> Path:
    """Where a problem lies in the shaped tree: pydantic's place, without the tag of a trigger's kind."""
    path = problem["loc"]
    if path[:2] == ("cluster", "trigger") and len(path) > 3:
        path = (*path[:3], *path[4:])
    return path


@dataclass(frozen=True, slots=True)
class Described:
    """What pydantic says of a value, in the words of this package. `offset`: where in a text."""

    message: str
    expected: str | None = None
    found: str | None = None
    suggestion: str | None = None
    offset: int | None = None
    code: str = "wrong-value"


def describe_problem(problem: ErrorDetails, key: str, value: object, *, of_format: bool = False) -> Described:
    """A problem with `value`, which stands under `key` (empty for an item of a list).

    `of_format`: whether the key is one of the format's own, of which more is known than its type.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    error = context.get("error")
    if kind == "value_error" and isinstance(error, TextError):
        found = error.found or show(value)
        return Described(error.message, error.expected, found, error.suggestion, error.offset)
    if kind == "refused" and "what" in context:
        found = context["found"] or show(value)
        return Described(context["what"], context["expected"], found, context["suggestion"])
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", context["expected"])
        close = close_match(value, allowed) if isinstance(value, str) else None
        expected = any_of(allowed) if allowed else context["expected"]
        return Described(f"`{key}` cannot be this", expected, show(value), close)
    if kind in _TYPES:
        what = f"`{key}` has the wrong type" if key else "this item has the wrong type"
        expected = _EXPECTED.get(key, _TYPES[kind]) if of_format else _TYPES[kind]
        return Described(what, expected, show(value), code="wrong-type")
    expected = _bound(kind, context, is_duration=of_format and key in _DURATIONS)
    if expected is not None:
        return Described(f"`{key}` is out of range", expected, show(value))
    return Described(problem["msg"].removeprefix("Value error, "), found=show(value))


def _report(problem: ErrorDetails, path: Path, root: Node, empty: Mapping[Path, Node], reporter: Reporter) -> None:
    node = root.nearest(*path)
    if not path:
        message, found = "a cluster file is a mapping", show(node.plain())
        reporter.at(node, "wrong-type", message, found=found, expected="`version` and `cluster`")
        return
    if problem["type"] == "missing":
        _report_missing(root.nearest(*path[:-1]), str(path[-1]), empty, reporter)
        return
    if problem["type"] == "extra_forbidden":
        reporter.unknown_key(node, str(path[-1]), _keys_allowed(path[:-1], root))
        return
    # The key as the file has it: a shorthand may have been written out under another.
    key = str(node.path[-1]) if node.path and isinstance(node.path[-1], str) else ""
    described = describe_problem(problem, key, node.plain(), of_format=True)
    reporter.at(
        node,
        _CODES.get(key, described.code) if described.offset is not None else described.code,
        described.message,
        offset=described.offset,
        found=described.found,
        expected=described.expected,
        suggestion=described.suggestion,
    )


_CODES: Final = {"if": "bad-condition", "uses": "bad-satellite"}


def _report_missing(parent: Node, key: str, empty: Mapping[Path, Node], reporter: Reporter) -> None:
    expected = _EXPECTED.get(key)
    if key == "identifier":
        is_step = bool(parent.path) and isinstance(parent.path[-1], int)
        expected = NAME_EXPECTED if is_step else CLUSTER_NAME_EXPECTED
    path = (*parent.path, key)
    if path in empty:
        reporter.at(empty[path], "missing-key", f"the key `{key}` has no value", on_key=True, expected=expected)
        return
    message = f"the key `{key}` is missing"
    reporter.at(parent, "missing-key", message, on_key=True, path=path, expected=expected)


def _bound(kind: str, context: dict[str, Any], *, is_duration: bool) -> str | None:
    if kind in ("too_short", "too_long"):
        word, count = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        return f"{word} {context[count]} of them"
    if kind in ("string_too_short", "string_too_long"):
        word, count = ("at least", "min_length") if kind == "string_too_short" else ("at most", "max_length")
        return f"{word} {context[count]} characters"
    words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
    for bound, word in words.items():
        if bound in context:
            limit: Any = context[bound]
            whole: Any = int(limit) if isinstance(limit, float) and limit.is_integer() else limit
            return f"{word} {format_duration_ms(whole) if is_duration else whole}"
    return None


def _keys_allowed(path: Path, root: Node) -> list[str]:
    """The keys that the mapping at `path` may hold."""
    model = _model_at(path, root)
    return [
        str(field.validation_alias or key_of(name))
        for name, field in model.model_fields.items()
        if name not in _NOT_WRITTEN.get(model, ())
    ]


# Fields of the models that a file writes elsewhere: a step's secrets stand in its config.
_NOT_WRITTEN: Final[dict[type[BaseModel], tuple[str, ...]]] = {
    Step: ("secrets",),
    **dict.fromkeys(_TRIGGERS.values(), ("kind",)),
}


def _model_at(path: Path, root: Node) -> type[BaseModel]:
    if not path:
        return ClusterFile
    if path == ("cluster",):
        return Cluster
    if path[:2] == ("cluster", "trigger"):
        kind = root.get(*path, "kind")
        return _TRIGGERS[str(kind.value)] if kind else Cluster
    if isinstance(path[-1], int):
        return Step
    return {"retries": RetryPolicy, "gather": Gather, "resources": Resources, "failure": Failure}[path[-1]]


def _leave_out(root: Node, path: Path) -> Node:
    """`root` without what stands at `path`; with a stand-in where something must stand there."""
    if not path:
        return root.with_value({})
    return _edit(root, path, path)


def _edit(node: Node, path: Path, whole: Path) -> Node:
    key, rest = path[0], path[1:]
    if node.mapping is not None and isinstance(key, str):
        entries = dict(node.mapping)
        below = entries.pop(key, None)
        if rest and below is not None:
            entries[key] = _edit(below, rest, whole)
        elif below is None and not rest and (stand_in := _stand_in(whole)) is not None:
            entries[key] = Node(stand_in, (*node.path, key), node.at)
        return node.with_value(entries)
    if node.items is not None and isinstance(key, int) and key < len(node.items):
        items = list(node.items)
        if rest:
            items[key] = _edit(items[key], rest, whole)
        elif whole[-2] in ("satellites", "logs"):
            items[key] = items[key].with_value({})  # its keys are then missing, and stood in for
        else:
            items[key] = items[key].with_value(STAND_IN)
        return node.with_value(items)
    return node


def _stand_in(path: Path) -> str | list[Node] | dict[str, Node] | None:
    """A value that keeps the models content where a required key is missing."""
    key = path[-1]
    if key == "identifier":
        is_step = isinstance(path[-2], int)
        return f"{STAND_IN}-{'-'.join(str(part) for part in path[1:-1])}" if is_step else f"{STAND_IN}/cluster"
    if key == "satellites":
        return [Node({}, path)]
    if key == "trigger":
        return [Node({"kind": Node("api-call")})]
    if key == "cluster" and len(path) > 1:
        return f"{STAND_IN}/other"
    plain = {
        "version": VERSION,
        "sla": "366d",
        "uses": f"satellite/{STAND_IN}/satellite",
        "from": STAND_IN,
        "bucket": STAND_IN,
        "path": f"/{STAND_IN}",
        "cron": "0 0 * * *",
    }
    return plain.get(str(key))
