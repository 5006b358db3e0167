"""Each step against the satellite that it uses: its name, its config, its input, the secrets it needs.

A value that holds a reference is taken for right here, whatever its type: it is checked again when it is known.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orbit_core.spec.catalog import Catalog, SatelliteInfo
from orbit_core.spec.checks.base import Checking
from orbit_core.spec.diagnostics import any_of, show
from orbit_core.spec.models import SatelliteRef, Step
from orbit_core.spec.nodes import Node, Path
from orbit_core.spec.references import holds_reference
from orbit_core.spec.schemas import parse_output_schema
from orbit_core.spec.structure import STAND_IN, describe_problem
from orbit_core.spec.text_error import TextError

SCHEMA_KEY: Final = "output-schema"


def check_satellites(checking: Checking) -> None:
    """Report unknown satellites, and steps that do not fit theirs."""
    for _, path, step in checking.steps():
        schema_reported = _check_schema(checking, path, step)
        if checking.catalog is None or step.uses.project == STAND_IN:
            continue
        info = checking.catalog.resolve(step.uses)
        if info is None:
            _report_unknown(checking, path, step.uses, checking.catalog)
            continue
        if not checking.structure.is_incomplete(*path, "config"):
            _check_config(checking, path, step, info, schema_reported)
        _check_input(checking, path, step, info)
        _check_needed_secrets(checking, path, step, info)


def _report_unknown(checking: Checking, path: Path, ref: SatelliteRef, catalog: Catalog) -> None:
    node = checking.node(*path, "uses")
    if ref.version and catalog.resolve(SatelliteRef(ref.project, ref.name)) is not None:
        checking.reporter.at(node, "unknown-satellite", f"{ref.full_name} has no such version", found=show(ref.version))
        return
    names = sorted(catalog.names())
    # The project is the same for most: judged by whole names, everything would look alike.
    by_last = {name.rpartition("/")[2]: name for name in reversed(names)}
    close = (
        checking.reporter.close_match(ref.full_name, names)
        if ref.name in by_last
        else checking.reporter.close_match(ref.name, list(by_last))
    )
    checking.reporter.at(
        node,
        "unknown-satellite",
        "there is no such satellite",
        found=show(str(ref)),
        suggestion=by_last.get(close, close) if close else None,
    )


def _check_schema(checking: Checking, path: Path, step: Step) -> bool:
    """Whether an output schema was refused: the satellite's model would only say so again."""
    schema = step.config.get(SCHEMA_KEY)
    if schema is None or holds_reference(schema):
        return False
    node = checking.node(*path, "config", SCHEMA_KEY)
    try:
        parse_output_schema(schema)
    except TextError as error:
        inside = node.nearest(*error.path) if error.path else node
        checking.reporter.text_error(inside, "bad-schema", error, show_found=False)
        return True
    return False


def _check_config(checking: Checking, path: Path, step: Step, info: SatelliteInfo, schema_reported: bool) -> None:
    if info.config_model is None:
        return
    for problem in _problems(info.config_model, step.config):
        if schema_reported and problem["loc"][:1] in ((SCHEMA_KEY,), (SCHEMA_KEY.replace("-", "_"),)):
            continue
        _report(checking, (*path, "config"), problem, info.config_model)


def _check_input(checking: Checking, path: Path, step: Step, info: SatelliteInfo) -> None:
    """Only what the step says itself: the rest comes from its parent's object."""
    if info.input_model is None or not step.input:
        return
    for problem in _problems(info.input_model, step.input):
        if problem["type"] != "missing" and problem["loc"] and problem["loc"][0] in step.input:
            _report(checking, (*path, "input"), problem, info.input_model)


def _problems(model: type[BaseModel], value: dict[str, JsonValue]) -> list[ErrorDetails]:
    """What `model` refuses of `value`, less what may be right once its references are known."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        return [problem for problem in problems if not _may_become_right(problem, value)]
    except Exception as error:  # a validator of a satellite's author: whatever it raises is a refusal
        return [{"type": "refused", "loc": (), "msg": f"{type(error).__name__}: {error}", "input": None}]
    return []


def _may_become_right(problem: ErrorDetails, config: dict[str, JsonValue]) -> bool:
    if problem["type"] in ("missing", "extra_forbidden"):
        return False
    return holds_reference(_value_at(config, problem["loc"]))


def _value_at(value: JsonValue, place: tuple[int | str, ...]) -> JsonValue:
    """What pydantic speaks of. A part that is not there is a name that it gives to a branch of a union."""
    for part in place:
        if isinstance(value, dict):
            value = value.get(str(part), value)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return value


def _report(checking: Checking, base: Path, problem: ErrorDetails, model: type[BaseModel]) -> None:
    node, inside = checking.node(*base), list(problem["loc"])
    while inside:
        below = node.get(inside[0])
        if below is None and len(inside) == 1 and problem["type"] == "missing":
            break
        node = below or node
        inside.pop(0)
    if problem["type"] == "missing":
        key = str(inside[0]) if inside else ""
        beside = () if checking.structure.root.get(*base) else base[-1:]  # there may be no config at all
        checking.reporter.at(
            node, "wrong-config", f"the key `{key}` is missing", on_key=True, path=(*node.path, *beside, key)
        )
    elif problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        keys = _keys_at(model, problem["loc"][:-1])
        checking.reporter.at(
            node,
            "wrong-config",
            f"unknown key {show(key)}",
            on_key=True,
            expected=any_of(keys) if keys else None,
            suggestion=checking.reporter.close_match(key, keys),
        )
    else:
        _report_value(checking, node, problem)


def _report_value(checking: Checking, node: Node, problem: ErrorDetails) -> None:
    key = node.path[-1] if node.path else ""
    described = describe_problem(problem, key if isinstance(key, str) else "", node.plain())
    checking.reporter.at(
        node,
        "wrong-config",
        described.message,
        found=described.found,
        expected=described.expected,
        suggestion=described.suggestion,
        offset=described.offset,
    )


def _keys_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys of the mapping at `place`, none where it is not plainly a model."""
    for part in place:
        by_key = {_key_of(name, field): field.annotation for name, field in model.model_fields.items()}
        inside = by_key.get(str(part))
        if not (isinstance(inside, type) and issubclass(inside, BaseModel)):
            return []
        model = inside
    return [_key_of(name, field) for name, field in model.model_fields.items()]


def _key_of(name: str, field: FieldInfo) -> str:
    return str(field.validation_alias or field.alias or name)


def _check_needed_secrets(checking: Checking, path: Path, step: Step, info: SatelliteInfo) -> None:
    if checking.structure.is_incomplete(*path, "secrets") or checking.structure.is_incomplete(*path, "config"):
        return
    for name in info.secrets:
        if name not in step.secrets:
            checking.reporter.at(
                checking.node(*path, "config"),
                "missing-secret",
                f"{info.name} needs the secret {name}",
                on_key=True,
                path=(*checking.node(*path).path, "config", "secrets", name),
                expected=f"{name}: ${{{{ secrets.{name} }}}} under `config.secrets`",
            )
