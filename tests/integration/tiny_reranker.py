"""A reranker for tests: its score is the mean of the token ids, so that texts differ and nothing has to be trained.

Its graph has three nodes; ONNX's own format is written by hand, since no library that writes it is installed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

INT64, FLOAT = 7, 1


def write_reranker(folder: Path, tokenizer_of: Path) -> Path:
    """The model folder, with the tokenizer of another one."""
    folder.mkdir(parents=True)
    shutil.copy(tokenizer_of / "tokenizer.json", folder)
    config = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "relevance"},
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.onnx").write_bytes(_model())
    return folder


def _model() -> bytes:
    """logits = mean(float(input_ids), over tokens), [texts, 1]. Padding, id 0, pulls it down: fine for an order."""
    cast = _node("Cast", ["input_ids"], ["floats"], _attribute("to", 2, _field(3, FLOAT)))
    mean = _node("ReduceMean", ["floats"], ["logits"], _attribute("axes", 7, _field(8, 1)))
    graph = b"".join(
        [
            _field(1, cast),
            _field(1, mean),
            _field(2, b"tiny-reranker"),
            _field(11, _value("input_ids", INT64, ["texts", "tokens"])),
            _field(12, _value("logits", FLOAT, ["texts", "one"])),
        ]
    )
    opset = _field(1, b"") + _field(2, 13)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)


def _node(kind: str, inputs: list[str], outputs: list[str], attribute: bytes) -> bytes:
    names = b"".join([*(_field(1, name.encode()) for name in inputs), *(_field(2, name.encode()) for name in outputs)])
    return names + _field(4, kind.encode()) + _field(5, attribute)


def _attribute(name: str, kind: int, value: bytes) -> bytes:
    return _field(1, name.encode()) + value + _field(20, kind)


def _value(name: str, element: int, dimensions: list[str]) -> bytes:
    shape = b"".join(_field(1, _field(2, dimension.encode())) for dimension in dimensions)
    tensor = _field(1, element) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a protocol buffer: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
