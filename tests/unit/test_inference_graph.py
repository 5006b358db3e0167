"""Pruning the output head of a decoder: the same logits, for fewer positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from orbit_agent.inference.folder import DecoderFolder, read_folder
from orbit_agent.inference.onnx_graph import LOGIT_ROWS, OnnxGraph

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"


def session(source: bytes | str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(TINY))
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def test_a_graph_says_what_it_takes() -> None:
    graph = OnnxGraph(TINY / "model.onnx")
    inputs = graph.inputs()
    assert inputs["input_ids"].dtype == "int64"
    assert inputs["past_key_values.0.key"].dtype == "float32"
    assert inputs["past_key_values.0.key"].shape[0] == "batch_size"
    assert graph.count("GroupQueryAttention") == 1


def test_a_pruned_head_gives_the_same_logits_for_the_positions_asked_for() -> None:
    folder = read_folder(TINY)
    assert isinstance(folder, DecoderFolder)
    pruned = OnnxGraph(folder.graph).prune_head("logits")
    assert pruned is not None
    empty = np.zeros((2, folder.key_value_heads, 0, folder.head_size), np.float32)
    feed = {
        "input_ids": np.random.default_rng(0).integers(3, 300, (2, 9)),
        "attention_mask": np.ones((2, 9), np.int64),
        "past_key_values.0.key": empty,
        "past_key_values.0.value": empty,
    }
    everything = np.asarray(session(str(folder.graph)).run(["logits"], feed)[0])
    rows = np.array([[[1, 8]], [[0, 3]], [[1, 0]]])
    wanted = np.asarray(session(pruned).run(["logits"], {**feed, LOGIT_ROWS: rows})[0])
    assert wanted.shape == (3, 1, folder.vocabulary)
    np.testing.assert_allclose(wanted[:, 0], everything[[1, 0, 1], [8, 3, 0]], rtol=1e-5, atol=1e-5)


def test_a_graph_without_such_an_output_is_left_alone() -> None:
    assert OnnxGraph(TINY / "model.onnx").prune_head("present.0.key") is None
    assert OnnxGraph(TINY / "model.onnx").prune_head("nothing") is None


def test_something_else_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xff\xff\xffnot a model")
    with pytest.raises(ValueError, match="no ONNX model"):
        OnnxGraph(path)
