"""Text to tokens and back for one model: chat template, special tokens in user text, context overflow, stop strings.

The template comes with the model, so it is run in jinja's sandbox. Decoding is done by `tokenizers` (genai's own
stops at the first invalid UTF-8). Nothing here knows how tokens are made.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from orbit_agent.inference.api import GenerateRequest, Message, Overflow
from orbit_agent.inference.errors import InvalidGenerationError, PromptTooLongError, UnsupportedModelError

#: The share of a truncated prompt that is kept from its start: instructions stand there.
_HEAD_SHARE: Final = 0.2


class _TemplateRefusal(Exception):
    """A template called `raise_exception`."""


class TextCodec:
    """The tokenizer and the chat template of one model folder."""

    def __init__(self, folder: Path) -> None:
        """Reads `tokenizer.json` and what lies beside it; raises `UnsupportedModelError`."""
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:
            raise UnsupportedModelError(f"tokenizer.json of {folder.name} cannot be read: {error}") from error
        # Padding and truncation baked into a tokenizer file are the trainer's, not ours.
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        settings = _read_json(folder / "tokenizer_config.json")
        self._tokens = {key: _token_text(settings.get(key)) for key in ("bos_token", "eos_token", "pad_token")}
        self._specials = sorted(
            (t.content for t in self.tokenizer.get_added_tokens_decoder().values() if t.special and len(t.content) > 1),
            key=len,
            reverse=True,
        )
        source = _template_source(folder, settings)
        try:
            self._template = _environment().from_string(source) if source is not None else None
        except TemplateError as error:
            raise UnsupportedModelError(f"the chat template of {folder.name} is not valid: {error}") from error

    def clean(self, text: str) -> str:
        """`text` with every special token broken by a space, so that it stays text."""
        for special in self._specials:
            text = text.replace(special, f"{special[0]} {special[1:]}")
        return text

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as one prompt that asks for the assistant's turn."""
        turns = [{"role": m.role, "content": self.clean(m.content)} for m in messages]
        if self._template is None:
            return "".join(f"{turn['role']}: {turn['content']}\n" for turn in turns) + "assistant:"
        try:
            return self._template.render(messages=turns, add_generation_prompt=True, **self._tokens)
        except (TemplateError, _TemplateRefusal) as error:
            raise InvalidGenerationError(f"the model's chat template refuses these messages: {error}") from error

    def encode_request(self, request: GenerateRequest, context_length: int) -> tuple[list[int], bool]:
        """The prompt's tokens, and whether some were left out to make room for the answer."""
        if (request.messages is None) == (request.prompt is None):
            raise InvalidGenerationError("exactly one of messages and prompt must be given")
        if request.messages is not None:
            ids = self.tokenizer.encode(self.render(request.messages), add_special_tokens=False).ids
        else:
            ids = self.tokenizer.encode(request.prompt or "", add_special_tokens=True).ids
        if not ids:
            raise InvalidGenerationError("the prompt is empty")
        room = context_length - request.max_new_tokens
        if room < 1:
            raise PromptTooLongError(
                f"max_new_tokens is {request.max_new_tokens}, the model's whole context {context_length} tokens",
                remedy="ask for fewer new tokens",
            )
        return fit(ids, room, request.context_overflow)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def fit(ids: list[int], room: int, overflow: Overflow) -> tuple[list[int], bool]:
    """`ids` in at most `room` tokens: as they are, without their middle, or `PromptTooLongError`."""
    if len(ids) <= room:
        return ids, False
    if overflow == "error":
        raise PromptTooLongError(
            f"the prompt has {len(ids)} tokens, the model's context has room for {room}",
            remedy='shorten it, or set context_overflow to "truncate"',
        )
    head = int(room * _HEAD_SHARE)
    return ids[:head] + ids[len(ids) - (room - head) :], True


class StopScanner:
    """Watches one growing text for stop strings, also where one begins in one token and ends in another."""

    def __init__(self, tokenizer: Tokenizer, stops: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._stream = DecodeStream(skip_special_tokens=True)
        self._longest = max(map(len, stops))
        self.text = ""
        self.stopped = False

    def feed(self, token: int) -> bool:
        """Adds one token; true, with `text` cut before it, once a stop string is complete."""
        piece = self._stream.step(self._tokenizer, token)
        if not piece:
            return False
        start = max(0, len(self.text) - self._longest + 1)
        self.text += piece
        found = [at for at in (self.text.find(stop, start) for stop in self._stops) if at >= 0]
        if found:
            self.text = self.text[: min(found)]
            self.stopped = True
        return self.stopped


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UnsupportedModelError(f"{path.name} cannot be read: {error}") from error
    return value if isinstance(value, dict) else {}


def _token_text(value: object) -> str:
    """A token's text: tokenizer configurations hold it bare or in an object."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _template_source(folder: Path, settings: dict[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    source = settings.get("chat_template")
    if isinstance(source, list):  # several, by name
        named = {str(entry.get("name")): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default", next(iter(named.values()), None))
    return source if isinstance(source, str) else None


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it (the names that the transformers library gives them)."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(message: str) -> NoReturn:
        raise _TemplateRefusal(message)

    def to_json(value: object, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **options)

    def now(pattern: str) -> str:
        return datetime.datetime.now(datetime.UTC).strftime(pattern)

    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = now
    environment.filters["tojson"] = to_json
    return environment
