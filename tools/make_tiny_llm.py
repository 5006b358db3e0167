"""Makes small untrained models for tests and benchmarks: decoders for onnxruntime-genai, encoders for onnxruntime.

    python -m tools.make_tiny_llm tiny OUT_DIR          the one under tests/data/tiny_llm (about 200 KB)
    python -m tools.make_tiny_llm bench OUT_DIR         about 26 million parameters, for `python -m bench.inference`
    python -m tools.make_tiny_llm embedder OUT_DIR      the one under tests/data/tiny_embedder
    python -m tools.make_tiny_llm classifier OUT_DIR    the one under tests/data/tiny_classifier

Runs in an export environment of its own (onnxruntime-genai, torch, transformers 5, onnx, onnx-ir, onnxscript),
never in Orbit's. The weights are random with a fixed seed and the tokenizers learn from text made here: the same
versions give the same decoder, byte for byte. Nothing that trains a useful model belongs here.
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
    onsets = [*"bdfghklmnprstv", "st", "tr", "pl"]
    vowels, codas = [*"aeiou", "ea"], ["", "n", "r", "s"]
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


def make_decoder(kind: str, target: Path, precision: str, checkpoint: Path | None = None) -> None:
    """Makes the decoder `kind` in `target`, replacing what was there; `checkpoint` keeps what it is exported from."""
    shape = SHAPES[kind]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        vocabulary = save_tokenizer(shape, source)
        parameters = save_weights(shape, vocabulary, source)
        shutil.rmtree(target, ignore_errors=True)
        export(source, target, precision)
        if checkpoint is not None:
            shutil.copytree(source, checkpoint, dirs_exist_ok=True)
    print(f"{kind}: {vocabulary} tokens, {parameters:,} parameters, {precision}, in {target}")


def make_encoder(kind: str, target: Path) -> None:
    """Makes a BERT-type encoder in `target`: mean pooling over states, or three labels."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    tokenizer: Any = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(training_text(400), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label={0: "buy", 1: "hold", 2: "sell"},
        label2id={"buy": 0, "hold": 1, "sell": 2},
        attn_implementation="eager",
    )
    model_class = BertModel if kind == "embedder" else BertForSequenceClassification
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    tokenizer.save(str(target / "tokenizer.json"))
    config.architectures = [model_class.__name__]
    config.save_pretrained(target)
    _export_encoder(model_class(config).eval(), "last_hidden_state" if kind == "embedder" else "logits", target)
    print(f"{kind}: {config.vocab_size} tokens, in {target}")


def _export_encoder(model: Any, output: str, target: Path) -> None:
    import torch

    class Wrapped(torch.nn.Module):
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[output]

    example = torch.ones((2, 5), dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=64)
    program = torch.onnx.export(
        Wrapped(),
        (example, example, example * 0),
        input_names=names,
        output_names=[output],
        dynamic_shapes={name: {0: batch, 1: sequence} for name in names},
        dynamo=True,
    )
    proto = program.model_proto
    for node in [*proto.graph.node, *(node for function in proto.functions for node in function.node)]:
        del node.metadata_props[:]  # stack traces of the exporter, with the paths of this machine
    del proto.graph.value_info[:]
    (target / "model.onnx").write_bytes(proto.SerializeToString())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=[*SHAPES, "embedder", "classifier"])
    parser.add_argument("target", type=Path)
    parser.add_argument("--precision", choices=["fp32", "int4"], default="fp32")
    parser.add_argument("--checkpoint", type=Path, help="also keep the Hugging Face layout here")
    arguments = parser.parse_args()
    if arguments.kind in SHAPES:
        make_decoder(arguments.kind, arguments.target, arguments.precision, arguments.checkpoint)
    else:
        make_encoder(arguments.kind, arguments.target)


if __name__ == "__main__":
    main()
