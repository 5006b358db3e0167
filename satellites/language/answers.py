"""Asking until the answer is right: held to a schema, asked again with the errors, then asked of a larger model.

Which satellite asks, and what becomes of the answer, is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from satellites.contract import Context, GenerateCall, Generated, PermanentError, SatelliteError, Usage
from satellites.schemas import problems

_PROBLEMS_SHOWN: Final = 10
_ANSWER_SHOWN_CHARS: Final = 300
_TRUNCATED: Final = "truncated"
_INVALID: Final = "invalid-output"

Messages = Sequence[Mapping[str, str]]


async def ask(call: GenerateCall, context: Context) -> Generated:
    """One answer; its tokens are counted whatever becomes of it."""
    generated = await context.models.generate(call)
    context.usage.append(Usage(generated.input_tokens, generated.output_tokens))
    return generated


async def ask_for_json(call: GenerateCall, context: Context, *, reprompts: int, escalate_to: str | None = None) -> Any:
    """A value that fits `call.json_schema`. An answer that does not is shown to the model with what is wrong.

    What the model cannot do is asked of `escalate_to`, from the beginning: a conversation that went wrong misleads.
    Raises `truncated` where the token limit cut the answer off, `invalid-output` where it is still wrong after
    `reprompts` more tries of the last model asked; permanently if another attempt would get the same answers.
    """
    try:
        return await _ask_one(call, context, reprompts)
    except SatelliteError as error:
        if escalate_to is None or error.code not in (_TRUNCATED, _INVALID):
            raise
        context.log.warning("%s cannot do it, %s is asked: %s", call.model, escalate_to, error)
    return await _ask_one(replace(call, model=escalate_to), context, reprompts)


async def _ask_one(call: GenerateCall, context: Context, reprompts: int) -> Any:
    schema = dict(call.json_schema or {})
    for left in range(reprompts, -1, -1):
        generated = await ask(call, context)
        if generated.finish == "length":
            raise _failure(
                call,
                _TRUNCATED,
                f"the answer of {call.model} was cut off at max-tokens ({call.max_new_tokens}) before its JSON was "
                "whole: raise max-tokens, or ask for less",
            )
        checked = _checked(generated.text, schema)
        if not checked.problems:
            return checked.value
        context.log.warning("the answer does not fit the schema: %s", "; ".join(checked.problems))
        if not left:
            raise _failure(
                call,
                _INVALID,
                f"the answer of {call.model} does not fit the output schema after {reprompts + 1} tries: "
                f"{'; '.join(checked.problems)}; it begins {generated.text[:_ANSWER_SHOWN_CHARS]!r}",
            )
        call = replace(call, messages=[*call.messages, *_objection(generated.text, checked.problems)])
    raise AssertionError("the loop ends by returning or raising")


@dataclass(frozen=True, slots=True)
class _Checked:
    value: Any
    problems: list[str]


def _checked(text: str, schema: dict[str, Any]) -> _Checked:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return _Checked(None, [f"not JSON: {error}"])
    return _Checked(value, problems(schema, value)[:_PROBLEMS_SHOWN])


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number of JSON's")


def _objection(answer: str, found: list[str]) -> Messages:
    listed = "\n".join(f"- {problem}" for problem in found)
    return (
        {"role": "assistant", "content": answer},
        {
            "role": "user",
            "content": f"That answer is not valid:\n{listed}\nAnswer again, with nothing but JSON that fits.",
        },
    )


def _failure(call: GenerateCall, code: str, message: str) -> SatelliteError:
    """Without chance in it, the model would say the same again."""
    repeats = call.temperature == 0 or call.seed is not None
    return (PermanentError if repeats else SatelliteError)(message, code=code)
