"""The reference of the format (`docs/format/reference.md`), written from the models themselves.

    python -m orbit_core.spec.reference_page > docs/format/reference.md

A test fails while the committed page says something else. What a key means is the docstring below its field.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orbit_core.spec.durations import format_duration_ms
from orbit_core.spec.models import (
    ApiCallTrigger,
    Cluster,
    ClusterFile,
    ClusterFinishedTrigger,
    CronTrigger,
    Failure,
    Gather,
    Resources,
    RetryPolicy,
    S3UploadTrigger,
    Step,
    WebhookTrigger,
)
from orbit_core.spec.models.base import key_of


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    model: type[BaseModel]
    leave_out: tuple[str, ...] = ()
    where: str = ""


_SECTIONS: Final = (
    _Section("The file", ClusterFile),
    _Section("`cluster`", Cluster),
    _Section("A step", Step, ("secrets",), "One item of `satellites`, `logs.satellites` or `failure.satellites`."),
    _Section("`gather`", Gather),
    _Section("`retries`", RetryPolicy),
    _Section("`resources`", Resources),
    _Section("`failure`", Failure),
    _Section("`trigger: {cron: …}`", CronTrigger, ("kind",)),
    _Section("`trigger: {s3-upload: {…}}`", S3UploadTrigger, ("kind",)),
    _Section("`trigger: {webhook: {…}}`", WebhookTrigger, ("kind",)),
    _Section("`trigger: {cluster-finished: …}`", ClusterFinishedTrigger, ("kind", "cluster")),
    _Section("`trigger: {api-call: true}`", ApiCallTrigger, ("kind",)),
)
_HEAD: Final = """\
# Reference of the cluster format

Written by `python -m orbit_core.spec.reference_page` from the models; [the guide](README.md) explains it.
"""
_NO_PLAIN_DEFAULT: Final = {
    "Cluster.retries": "`5`",
    "Step.needs": "the step before",
    "Step.retries": "the cluster's",
    "Gather.over": "`run`",
}


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for section in _SECTIONS for line in _section(section))])


def _section(section: _Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    about = section.where or " ".join((section.model.__doc__ or "").split())
    if section.model not in (ClusterFile, Cluster):
        yield from (about, "")
    fields = {name: field for name, field in section.model.model_fields.items() if name not in section.leave_out}
    if not fields:
        return
    yield "| key | values | unless said | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in fields.items():
        key = field.validation_alias or key_of(name)
        meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
        yield f"| `{key}` | {_values(name, field)} | {_default(section.model, name, field)} | {meaning} |"
    yield ""


def _values(name: str, field: FieldInfo) -> str:
    """What may be written, in words."""
    if name.endswith("_ms"):
        return "a duration"
    if name.endswith("_bytes"):
        return "an amount of memory"
    return _WORDS.get(name) or _type_words(field.annotation) or "text"


_WORDS: Final = {
    "budget_usd": "a number above 0",
    "priority": "0 to 100",
    "max_retries": "0 to 100",
    "condition": "a condition",
    "triggers": "a trigger, or a list",
    "secrets": "a mapping, or a list",
    "retries": "a number, or a mapping",
    "gather": "`true`, or a mapping",
    "needs": "an identifier, or a list",
    "cpu": "a number of cores",
    "gpu": "a number",
    "cluster": "a mapping",
    "logs": "a mapping",
    "failure": "a mapping",
}


def _type_words(annotation: Any) -> str | None:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a mapping"
    if get_origin(annotation) is tuple:
        return "a list"
    if get_origin(annotation) is dict:
        return "a mapping"
    inner = [part for part in get_args(annotation) if part is not type(None)]
    return _type_words(inner[0]) if len(inner) == 1 else None


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    said = _NO_PLAIN_DEFAULT.get(f"{model.__name__}.{name}")
    if said is not None:
        return said
    if field.is_required():
        return "**must be said**"
    value = field.default
    if value is None or value in ("", ()) or field.default_factory is not None:
        return "–"
    return f"`{format_duration_ms(value) if name.endswith('_ms') else value}`"


if __name__ == "__main__":
    sys.stdout.write(page())
