"""The conditions of `if`: references, literals, comparisons, `&& || !` and parentheses.

    or         := and ("||" and)*
    and        := comparison ("&&" comparison)*
    comparison := unary [("==" | "!=" | "<" | "<=" | ">" | ">=") unary]
    unary      := "!" unary | "(" or ")" | "${{" or "}}" | literal | reference
    literal    := number | 'text' | "text" | true | false | null

Read when the file is validated, evaluated purely over a scope. Nothing is coerced: `&& || !` and the whole
condition take booleans, an order compares two numbers or two texts. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

from pydantic import JsonValue

from orbit_core.errors import ReferenceError_
from orbit_core.spec.references import Reference, parse_reference_at
from orbit_core.spec.resolve import Scope, kind_of, value_of
from orbit_core.spec.text_error import TextError

Comparison: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]

_NESTING_MAX: Final = 64
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\$?\$\{\{|\() | (?P<close>\}\}|\)) | (?P<operator>\|\||&&|==|!=|<=|>=|<|>|!)
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w-])) | (?P<text>'[^']*'|"[^"]*") | (?P<name>[^\W\d][\w-]*)
      | (?P<end>\Z) | (?P<other>.)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_WORDS: Final[dict[str, JsonValue]] = {"true": True, "false": False, "null": None}
_INSTEAD: Final = {"=": "==", "&": "&&", "|": "||"}
_WORDS_INSTEAD: Final = {"and": "&&", "or": "||", "not": "!", "True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True, slots=True)
class Literal_:
    """A value that is written out."""

    value: JsonValue
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Lookup:
    """A reference, and where it stands in the text."""

    reference: Reference
    offset: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`."""

    operator: Comparison
    left: Expression
    right: Expression
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """`!operand`."""

    operand: Expression
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Every:
    """`a && b && …`: the first false one ends it."""

    operands: tuple[Expression, ...]
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Some:
    """`a || b || …`: the first true one ends it."""

    operands: tuple[Expression, ...]
    offset: int = field(default=0, compare=False)


Expression: TypeAlias = Literal_ | Lookup | Compare | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Condition:
    """An `if`: its text, and what the text reads as."""

    text: str
    expression: Expression = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises `TextError` with the offset of the fault."""
        return cls(text, parse_expression(text))

    def holds(self, scope: Scope) -> bool:
        """Whether the step runs. Raises `ReferenceError_` for a missing value or one of the wrong kind."""
        return _boolean(evaluate(self.expression, scope), "an `if`", self.text)


def parse_expression(text: str) -> Expression:
    """Raises `TextError` where the text does not read, or can never be a boolean."""
    expression = _Parser(text).parse()
    _check_boolean(expression, "an `if`")
    return expression


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._token = self._read(0)

    def parse(self) -> Expression:
        if self._token.kind == "end":
            raise TextError("the condition is empty", expected="an expression that is true or false")
        expression = self._some()
        if self._token.kind != "end":
            raise self._unexpected("an operator such as ==, && or ||")
        return expression

    def _read(self, position: int) -> _Token:
        match = _TOKEN.match(self._text, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None:  # the last two alternatives match anything, the end included
            raise AssertionError(f"no token at {position} of {self._text!r}")
        return _Token(kind, match[kind], match.start(kind), match.end())

    def _advance(self) -> _Token:
        token = self._token
        self._token = self._read(token.end)
        return token

    def _at(self, *operators: str) -> bool:
        return self._token.kind == "operator" and self._token.text in operators

    def _unexpected(self, expected: str) -> TextError:
        token = self._token
        if token.kind == "other" and token.text in ("'", '"'):
            return TextError("this text is never closed", offset=token.start, expected=f"`{token.text}`")
        found = "the end" if token.kind == "end" else f"`{token.text}`"
        instead = _INSTEAD.get(token.text) or _WORDS_INSTEAD.get(token.text)
        return TextError(
            "this does not read as a condition",
            offset=token.start,
            found=found,
            expected=expected,
            suggestion=instead,
        )

    def _some(self) -> Expression:
        return self._joined("||", self._every, Some)

    def _every(self) -> Expression:
        return self._joined("&&", self._comparison, Every)

    def _joined(self, operator: str, operand: Callable[[], Expression], join: type[Some] | type[Every]) -> Expression:
        start = self._token.start
        operands = [operand()]
        while self._at(operator):
            self._advance()
            operands.append(operand())
        return operands[0] if len(operands) == 1 else join(tuple(operands), start)

    def _comparison(self) -> Expression:
        start = self._token.start
        left = self._unary()
        if not self._at("==", "!=", "<", "<=", ">", ">="):
            return left
        operator = cast("Comparison", self._advance().text)
        expression = Compare(operator, left, self._unary(), start)
        if self._at("==", "!=", "<", "<=", ">", ">="):
            raise TextError("comparisons do not chain", offset=self._token.start, expected="&& between two comparisons")
        return expression

    def _unary(self) -> Expression:
        token = self._token
        if token.kind == "operator" and token.text == "!":
            return self._nested(lambda: Not(self._unary(), token.start))
        if token.kind == "open":
            return self._nested(lambda: self._closed_by(")" if token.text == "(" else "}}"))
        if token.kind == "number":
            self._advance()
            return Literal_(_number(token), token.start)
        if token.kind == "text":
            self._advance()
            return Literal_(token.text[1:-1], token.start)
        if token.kind == "name":
            return self._name()
        raise self._unexpected("a reference, a literal, `!` or `(`")

    def _nested(self, inner: Callable[[], Expression]) -> Expression:
        token = self._advance()
        self._depth += 1
        if self._depth > _NESTING_MAX:
            raise TextError(f"the condition nests deeper than {_NESTING_MAX}", offset=token.start)
        expression = inner()
        self._depth -= 1
        return expression

    def _closed_by(self, close: str) -> Expression:
        expression = self._some()
        if self._token.kind != "close" or self._token.text != close:
            raise self._unexpected(f"`{close}`")
        self._advance()
        return expression

    def _name(self) -> Expression:
        token = self._token
        if token.text in _WORDS:
            self._advance()
            return Literal_(_WORDS[token.text], token.start)
        if token.text in _WORDS_INSTEAD:
            raise self._unexpected("a reference or a literal")
        reference, end = parse_reference_at(self._text, token.start)
        self._token = self._read(end)
        return Lookup(reference, token.start, end)


def _number(token: _Token) -> int | float:
    if len(token.text) > 40:
        raise TextError("the number is too long", offset=token.start)
    number = float(token.text)
    if number in (float("inf"), float("-inf")):
        raise TextError("the number is too large", offset=token.start)
    return int(token.text) if re.fullmatch(r"-?\d+", token.text) else number


def _check_boolean(expression: Expression, where: str) -> None:
    """Refuse what can be seen never to be a boolean, before any run meets it."""
    match expression:
        case Literal_(value, offset) if not isinstance(value, bool):
            raise TextError(f"{where} takes a boolean", offset=offset, found=kind_of(value))
        case Not(operand):
            _check_boolean(operand, "`!`")
        case Every(operands) | Some(operands):
            for operand in operands:
                _check_boolean(operand, "`&&`" if isinstance(expression, Every) else "`||`")
        case Compare(operator, left, right, offset):
            _check_compared(operator, left, right, offset)
        case _:
            pass


def _check_compared(operator: Comparison, left: Expression, right: Expression, offset: int) -> None:
    for side in (left, right):
        if not isinstance(side, Literal_ | Lookup):
            _check_boolean(side, f"`{operator}`")
            if operator not in ("==", "!="):
                raise TextError(f"`{operator}` orders numbers or texts", offset=side.offset, found="a condition")
    if operator in ("==", "!="):
        return
    literals = [side for side in (left, right) if isinstance(side, Literal_)]
    for side in literals:
        if not _ordered(side.value):
            raise TextError(f"`{operator}` orders numbers or texts", offset=side.offset, found=kind_of(side.value))
    if len(literals) == 2 and isinstance(literals[0].value, str) != isinstance(literals[1].value, str):
        raise TextError(f"`{operator}` orders two numbers or two texts", offset=offset)


def evaluate(expression: Expression, scope: Scope) -> JsonValue:
    """The value of `expression`. Raises `ReferenceError_`."""
    match expression:
        case Literal_(value):
            return value
        case Lookup(reference):
            return value_of(reference, scope)
        case Not(operand):
            return not _boolean(evaluate(operand, scope), "`!`", _named(operand))
        case Every(operands):
            return all(_boolean(evaluate(operand, scope), "`&&`", _named(operand)) for operand in operands)
        case Some(operands):
            return any(_boolean(evaluate(operand, scope), "`||`", _named(operand)) for operand in operands)
        case Compare(operator, left, right):
            return _compare(operator, evaluate(left, scope), evaluate(right, scope))


def _boolean(value: JsonValue, where: str, what: str) -> bool:
    if isinstance(value, bool):
        return value
    raise ReferenceError_(
        f"{where} takes true or false, and {what} is {kind_of(value)}",
        remedy="compare it, for instance with `!= null`",
    )


def _named(expression: Expression) -> str:
    return f"`{expression.reference}`" if isinstance(expression, Lookup) else "its operand"


def _ordered(value: JsonValue) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _compare(operator: Comparison, left: JsonValue, right: JsonValue) -> bool:
    if operator == "==":
        return same(left, right)
    if operator == "!=":
        return not same(left, right)
    if isinstance(left, str) and isinstance(right, str):
        return _order(operator, (left > right) - (left < right))
    if isinstance(left, int | float) and isinstance(right, int | float) and _ordered(left) and _ordered(right):
        return _order(operator, (left > right) - (left < right))
    raise ReferenceError_(f"`{operator}` orders two numbers or two texts, not {kind_of(left)} and {kind_of(right)}")


def _order(operator: Comparison, sign: int) -> bool:
    return {"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[operator]


def same(left: JsonValue, right: JsonValue) -> bool:
    """Equality as JSON has it: `true` is not 1, 1 is 1.0, the order of keys does not matter."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return left == right


def lookups(expression: Expression) -> Iterator[Lookup]:
    """Every reference in `expression`, from left to right."""
    match expression:
        case Lookup():
            yield expression
        case Not(operand):
            yield from lookups(operand)
        case Compare(_, left, right):
            yield from lookups(left)
            yield from lookups(right)
        case Every(operands) | Some(operands):
            for operand in operands:
                yield from lookups(operand)
        case Literal_():
            return
