"""The model's tokenizer: byte-level BPE over generated reports, every digit on its own.

`python -m tools.demo_model.tokenizer --out DIR` writes `tokenizer.json`; the same code gives the same file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tools.demo_model.prompts import SPECIAL_TOKENS, conversation, instruction
from tui.demo.reports import FIELD_NAMES, NUMBER_FIELDS, TRAIN, layout_names, make_report

VOCABULARY = 2048
REPORTS = 6000

#: Qwen2's pattern: words with the space or mark before them, digits one by one. Widely understood by readers of
#: `tokenizer.json`, which a pattern of our own would not be.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def answer_tokens() -> list[str]:
    """What stands between two values of an answer, each as one token: an answer is little more than its values."""
    tokens = []
    for index, name in enumerate(FIELD_NAMES):
        opens = "{" if index == 0 else "," if FIELD_NAMES[index - 1] in NUMBER_FIELDS else '",'
        closes = "" if name in NUMBER_FIELDS else '"'
        tokens.append(f'{opens}"{name}":{closes}')
    return tokens


def _texts() -> Iterator[str]:
    names = layout_names(TRAIN)
    for number in range(REPORTS):
        rng = Random(number)
        report = make_report(number, seed=-1, split=TRAIN, layout=names[number % len(names)])
        yield conversation(instruction(rng), report.text)


def train_tokenizer() -> Tokenizer:
    """Train the tokenizer on reports that no training sample repeats."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = answer_tokens()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(added),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    tokenizer.save(str(out / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
