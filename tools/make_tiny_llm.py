"""Makes small untrained language models in the onnxruntime-genai folder layout, for tests and benchmarks.

    python -m tools.make_tiny_llm tiny OUT_DIR      the one under tests/data/tiny_llm (about 200 KB)
    python -m tools.make_tiny_llm bench OUT_DIR     about 27 million parameters, for `python -m bench.inference`

Runs in an export environment of its own (onnxruntime-genai, torch, transformers 5, onnx, onnx-ir, onnxscript),
never in Orbit's. The weights are random with a fixed seed and the tokenizer learns from text made here, so the
same versions give the same bytes. Nothing that trains a useful model belongs here.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a Llama-type decoder."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    context: int


SHAPES = {
    "tiny": Shape(384, 32, 64, 1, 2, 1, 512),
    "bench": Shape(8192, 512, 1408, 6, 8, 4, 2048),
}


def training_text(words: int, seed: int = 0) -> list[str]:
    """Sentences and JSON over words made of syllables: enough variety for a vocabulary of thousands."""
    draw = random.Random(seed)
    onsets, vowels, codas = "b d f g h k l m n p r s t v st tr pl".split(), "a e i o u ea".split(), ["", "n", "r", "s"]
    lexicon = [
        "".join(draw.choice(onsets) + draw.choice(vowels) + draw.choice(codas) for _ in range(draw.randint(1, 3)))
        for _ in range(words)
    ]
    lines = []
    for _ in range(words):
        picked = draw.choices(lexicon, k=12)
        lines.append(f"{' '.join(picked).capitalize()}, {draw.randint(0, 99_999)} {draw.choice(picked)}.\n")
        lines.append(json.dumps({picked[0]: picked[1], picked[2]: draw.randint(0, 999), "revenue": True}) + "\n")
    return lines


def save_tokenizer(shape: Shape, folder: Path) -> int:
    """Trains a byte-level BPE and saves it with its chat template; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_text(max(500, shape.vocabulary)), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    return len(wrapped)


def save_weights(shape: Shape, vocabulary: int, folder: Path) -> int:
    """Saves a Llama-type decoder with random weights; returns the number of its parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.context,
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval().to(torch.float32)
    # Untrained logits are nearly flat: sharpened, so that greedy decoding has no ties for rounding to break.
    with torch.no_grad():
        model.lm_head.weight.mul_(20.0)
    generation = model.generation_config
    generation.bos_token_id, generation.eos_token_id, generation.pad_token_id = 0, 2, 0
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def export(source: Path, target: Path, precision: str) -> None:
    """Runs the genai builder: `source` in Hugging Face layout, `target` in onnxruntime-genai layout."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
        arguments = ["-i", source, "-o", target, "-p", precision, "-e", "cpu", "-c", cache]
        subprocess.run([*command, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def make(kind: str, target: Path, precision: str) -> None:
    """Makes the model `kind` in `target`, replacing what was there."""
    shape = SHAPES[kind]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        vocabulary = save_tokenizer(shape, source)
        parameters = save_weights(shape, vocabulary, source)
        shutil.rmtree(target, ignore_errors=True)
        export(source, target, precision)
    print(f"{kind}: {vocabulary} tokens, {parameters:,} parameters, {precision}, in {target}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(SHAPES))
    parser.add_argument("target", type=Path)
    parser.add_argument("--precision", choices=["fp32", "int4"], default="fp32")
    arguments = parser.parse_args()
    make(arguments.kind, arguments.target, arguments.precision)


if __name__ == "__main__":
    main()
