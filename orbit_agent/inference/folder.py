"""What a model folder says about itself: the onnxruntime-genai layout, or a plain ONNX encoder.

    decoder   genai_config.json, model.onnx (+ data), tokenizer.json, chat_template.jinja or tokenizer_config.json
    encoder   model.onnx or onnx/model.onnx (+ data), tokenizer.json, config.json (labels), 1_Pooling/config.json

Reads JSON only; no runtime is imported and no weights are touched here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orbit_agent.inference.api import Task
from orbit_agent.inference.errors import UnsupportedModelError

Pooling = Literal["mean", "cls", "last", "max"]


@dataclass(frozen=True, slots=True)
class DecoderFolder:
    """A decoder in the onnxruntime-genai layout; `*_names` hold one `%d` for the layer.

    `paged`: exported with paged attention. Sizes that an architecture does not state are 0.
    """

    path: Path
    model_type: str
    graph: Path
    context_length: int
    vocabulary: int
    eos_ids: tuple[int, ...]
    bos_id: int | None
    layers: int
    key_value_heads: int
    head_size: int
    paged: bool
    shares_buffer: bool
    input_ids: str
    attention_mask: str
    position_ids: str
    past_key_names: str
    past_value_names: str
    logits: str
    present_key_names: str
    present_value_names: str

    def key_value_bytes_per_token(self, item_bytes: int) -> int:
        """What one token of one sequence takes in the key-value cache."""
        return 2 * self.layers * self.key_value_heads * self.head_size * item_bytes


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """An encoder: embeddings, a classifier, or a reranker. `labels` is empty for embeddings."""

    path: Path
    graph: Path
    task: Task
    context_length: int
    pooling: Pooling
    labels: tuple[str, ...]
    pad_id: int
    multi_label: bool


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnsupportedModelError(f"{path.name} of {path.parent.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise UnsupportedModelError(f"{path.name} of {path.parent.name} holds no JSON object")
    return value


def read_folder(path: Path) -> DecoderFolder | EncoderFolder:
    """What lies in `path`. Raises `UnsupportedModelError` where it is neither layout."""
    if (path / "genai_config.json").is_file():
        return _decoder(path)
    for graph in (path / "model.onnx", path / "onnx" / "model.onnx"):
        if graph.is_file() and (path / "tokenizer.json").is_file():
            return _encoder(path, graph)
    raise UnsupportedModelError(
        f"{path.name} is no model folder",
        remedy="expected genai_config.json, or model.onnx with tokenizer.json; `orbit models export` makes them",
    )


def _decoder(path: Path) -> DecoderFolder:
    config = _json(path / "genai_config.json")
    try:
        model = config["model"]
        decoder = model["decoder"]
        inputs, outputs = decoder.get("inputs", {}), decoder.get("outputs", {})
        eos = model["eos_token_id"]
        return DecoderFolder(
            path=path,
            model_type=str(model.get("type", "")),
            graph=path / decoder.get("filename", "model.onnx"),
            context_length=int(model["context_length"]),
            vocabulary=int(model["vocab_size"]),
            eos_ids=tuple(map(int, eos)) if isinstance(eos, list) else (int(eos),),
            bos_id=model.get("bos_token_id"),
            layers=int(decoder.get("num_hidden_layers", 0)),
            key_value_heads=int(decoder.get("num_key_value_heads", 0)),
            head_size=int(decoder.get("head_size", 0)),
            paged="dynamic_batching" in config.get("engine", {}),
            shares_buffer=bool(config.get("search", {}).get("past_present_share_buffer", False)),
            input_ids=inputs.get("input_ids", "input_ids"),
            attention_mask=inputs.get("attention_mask", "attention_mask"),
            position_ids=inputs.get("position_ids", "position_ids"),
            past_key_names=inputs.get("past_key_names", "past_key_values.%d.key"),
            past_value_names=inputs.get("past_value_names", "past_key_values.%d.value"),
            logits=outputs.get("logits", "logits"),
            present_key_names=outputs.get("present_key_names", "present.%d.key"),
            present_value_names=outputs.get("present_value_names", "present.%d.value"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnsupportedModelError(f"genai_config.json of {path.name} lacks or misuses {error}") from error


def _encoder(path: Path, graph: Path) -> EncoderFolder:
    config = _json(path / "config.json")
    tokenizer = _json(path / "tokenizer_config.json")
    labels = _labels(config)
    longest = min(int(config.get("max_position_embeddings") or 512), _limit(tokenizer.get("model_max_length")))
    longest = min(longest, _limit(_json(path / "sentence_bert_config.json").get("max_seq_length")))
    return EncoderFolder(
        path=path,
        graph=graph,
        task=_encoder_task(config, labels),
        context_length=longest,
        pooling=_pooling(_json(path / "1_Pooling" / "config.json")),
        labels=labels,
        pad_id=int(config.get("pad_token_id") or 0),
        multi_label=config.get("problem_type") == "multi_label_classification",
    )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    architectures = " ".join(map(str, config.get("architectures") or ()))
    if "SequenceClassification" not in architectures:
        return ()
    names = config.get("id2label") or {"0": "LABEL_0"}
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _encoder_task(config: Mapping[str, Any], labels: tuple[str, ...]) -> Task:
    if not labels:
        return "embed"
    return "rerank" if len(labels) == 1 else "classify"


def _pooling(config: Mapping[str, Any]) -> Pooling:
    modes: tuple[tuple[str, Pooling], ...] = (
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_lasttoken", "last"),
        ("pooling_mode_max_tokens", "max"),
    )
    for key, pooling in modes:
        if config.get(key):
            return pooling
    return "mean"


def _limit(value: object) -> int:
    """A length limit; tokenizers without one hold a number beyond any use (1e30)."""
    return int(value) if isinstance(value, int | float) and 0 < value < 1_000_000 else 1_000_000
