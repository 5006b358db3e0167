"""Language models under names of their own: `generate` with a model filled in. A name is all that a preset adds."""

from __future__ import annotations

from typing import Final

from satellites.language.generate import Generate, GenerationConfig

#: The last part of a satellite's name and of its aliases, and the model that it asks. The first is spelt as in the
#: published example; its model is spelt right.
_PRESETS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("deepseek-r1-distrill-llama-70b", ("deepseek-r1-distill-llama-70b",), "deepseek-r1-distill-llama-70b"),
    ("deepseek-r1-distrill-llama-8b", ("deepseek-r1-distill-llama-8b",), "deepseek-r1-distill-llama-8b"),
    ("deepseek-r1-distrill-qwen-32b", ("deepseek-r1-distill-qwen-32b",), "deepseek-r1-distill-qwen-32b"),
    ("deepseek-r1-distrill-qwen-7b", ("deepseek-r1-distill-qwen-7b",), "deepseek-r1-distill-qwen-7b"),
    ("deepseek-r1-distrill-qwen-1.5b", ("deepseek-r1-distill-qwen-1.5b",), "deepseek-r1-distill-qwen-1.5b"),
    ("llama-3.3-70b-instruct", (), "llama-3.3-70b-instruct"),
    ("llama-3.1-8b-instruct", (), "llama-3.1-8b-instruct"),
    ("qwen2.5-7b-instruct", (), "qwen2.5-7b-instruct"),
)


def _preset(name: str, aliases: tuple[str, ...], model: str) -> type[Generate]:
    spellings = [f"{project}/{spelling}" for project in ("exospherehost", "orbit") for spelling in (name, *aliases)]
    full, *others = (f"satellite/{spelling}" for spelling in spellings)
    return type(
        "".join(part.capitalize() for part in name.replace(".", "-").split("-")),
        (Generate,),
        {
            "__doc__": f"`satellite/orbit/generate` with the model {model}, unless its config names another.",
            "__module__": __name__,
            "name": full,
            "aliases": tuple(others),
            "summary": f"Asks {model}",
            "Config": GenerationConfig,
            "default_model": model,
        },
    )


PRESETS: Final = tuple(_preset(*preset) for preset in _PRESETS)
