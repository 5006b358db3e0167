"""What the demonstration model is asked, and how a conversation is written down for it."""

from __future__ import annotations

from random import Random

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: The wording of the example's cluster file, and of the demonstration's.
INSTRUCTION = (
    "Parse the following quarterly financial report and return a structured json output as defined in the "
    "output-schema, report text is provided below:"
)
_OTHER_INSTRUCTIONS = (
    "Return a structured json output as defined in the output-schema for the following quarterly report:",
    "Parse the following quarterly report and return json:",
    "Extract the fields of the output-schema from this report:",
    "Parse the report below and return a structured json output.",
)


def instruction(rng: Random) -> str:
    """Mostly the example's wording, sometimes another."""
    return INSTRUCTION if rng.random() < 0.6 else rng.choice(_OTHER_INSTRUCTIONS)


def conversation(asked: str, report_text: str) -> str:
    """Everything up to where the model begins to answer."""
    return f"{TURN_START}user\n{asked}\n{report_text}{TURN_END}\n{TURN_START}assistant\n"
