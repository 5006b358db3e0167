"""Turn trained weights into the folder that Orbit ships.

`python -m tools.demo_model.export --trained DIR --out MODEL_DIR` writes a model folder in onnxruntime-genai's layout:
`model.onnx`, `genai_config.json`, the tokenizer's files and the chat template. The graph comes from
onnxruntime-genai's own builder in float32; its weights are then stored as float16 and cast back when a session is
made, which halves the file and costs nothing at run time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tools.demo_model.model import Decoder, Shape
from tools.demo_model.prompts import CHAT_TEMPLATE, END_OF_TEXT, SPECIAL_TOKENS, TURN_END

CONTEXT_TOKENS = 1024
SMALLEST_SHRUNK = 1024  # elements; smaller weights (norms) stay float32
SHIPPED = ("model.onnx", "genai_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def to_transformers(shape: Shape, trained: Path, out: Path) -> None:
    """Write the trained weights as a `LlamaForCausalLM` with its tokenizer."""
    decoder = Decoder(shape)
    decoder.load_state_dict(torch.load(trained / "weights.pt", weights_only=True))
    end = SPECIAL_TOKENS.index(TURN_END)
    ids = {"bos_token_id": 0, "eos_token_id": end, "pad_token_id": 0}
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=CONTEXT_TOKENS,
        rms_norm_eps=shape.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        **ids,
    )
    llama = LlamaForCausalLM(config).eval()
    missing, unexpected = llama.load_state_dict(_renamed(decoder), strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    llama.tie_weights()
    sample = torch.randint(0, shape.vocab, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (llama(sample).logits - decoder(sample)).abs().max().item()
    assert difference < 1e-3, f"the two models differ by {difference}"
    llama.generation_config = GenerationConfig(max_length=CONTEXT_TOKENS, do_sample=False, **ids)
    llama.save_pretrained(out)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(trained / "tokenizer.json"),
        bos_token=END_OF_TEXT,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=CONTEXT_TOKENS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(out)


def _renamed(decoder: Decoder) -> dict[str, torch.Tensor]:
    inner = {
        "input_norm": "input_layernorm",
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "o": "self_attn.o_proj",
        "mlp_norm": "post_attention_layernorm",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    }
    state = {}
    for name, tensor in decoder.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            state[f"model.layers.{parts[1]}.{inner[parts[2]]}.weight"] = tensor
        else:
            state[{"embedding": "model.embed_tokens", "norm": "model.norm"}[parts[0]] + ".weight"] = tensor
    return state


def build_graph(source: Path, out: Path) -> None:
    """Run onnxruntime-genai's builder: plain Llama with past and present keys and values, float32, for the CPU."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(out)]
    subprocess.run([*command, "-p", "fp32", "-e", "cpu", "-c", str(out / "cache")], check=True)


def shrink(source: Path, target: Path) -> None:
    """Store the weights as float16, each behind a cast: a session does the casts once, when it is made."""
    model = onnx.load(source)
    graph = model.graph
    casts, stored = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= SMALLEST_SHRUNK:
            stored.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half"))
            casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
        else:
            stored.append(numpy_helper.from_array(values, tensor.name))
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(stored)
    graph.node.extend([*casts, *nodes])
    onnx.save_model(model, target)


def export(trained: Path, out: Path) -> None:
    """Write the shipped folder."""
    shape = Shape.load(trained / "shape.json")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source, built = Path(scratch) / "transformers", Path(scratch) / "onnx"
        to_transformers(shape, trained, source)
        build_graph(source, built)
        shrink(built / "model.onnx", out / "model.onnx")
        config = json.loads((built / "genai_config.json").read_text())
        config["search"] |= {"do_sample": False, "top_k": 1, "temperature": 1.0, "max_length": CONTEXT_TOKENS}
        (out / "genai_config.json").write_text(json.dumps(config, indent=2) + "\n")
        for name in SHIPPED[2:]:
            (out / name).write_bytes((built / name).read_bytes())
    total = sum((out / name).stat().st_size for name in SHIPPED)
    print(f"{total:,} bytes in {out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    export(args.trained, args.out)


if __name__ == "__main__":
    main()
