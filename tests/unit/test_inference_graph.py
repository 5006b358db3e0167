"""What is changed in a decoder's graph: logits for fewer positions, attention that is told what to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from orbit_agent.inference.folder import DecoderFolder, read_folder
from orbit_agent.inference.onnx_graph import LOGIT_ROWS, SCORE_BIAS, OnnxGraph

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
    graph = OnnxGraph(folder.graph)
    assert graph.prune_head("logits")
    empty = np.zeros((2, folder.key_value_heads, 0, folder.head_size), np.float32)
    feed = {
        "input_ids": np.random.default_rng(0).integers(3, 300, (2, 9)),
        "attention_mask": np.ones((2, 9), np.int64),
        "past_key_values.0.key": empty,
        "past_key_values.0.value": empty,
    }
    everything = np.asarray(session(str(folder.graph)).run(["logits"], feed)[0])
    rows = np.array([[[1, 8]], [[0, 3]], [[1, 0]]])
    wanted = np.asarray(session(graph.serialized()).run(["logits"], {**feed, LOGIT_ROWS: rows})[0])
    assert wanted.shape == (3, 1, folder.vocabulary)
    np.testing.assert_allclose(wanted[:, 0], everything[[1, 0, 1], [8, 3, 0]], rtol=1e-5, atol=1e-5)


def test_a_graph_without_such_an_output_is_left_alone() -> None:
    graph = OnnxGraph(TINY / "model.onnx")
    before = graph.serialized()
    assert not graph.prune_head("present.0.key")
    assert not graph.prune_head("nothing")
    assert graph.serialized() == before


def test_opened_attention_sees_what_the_bias_lets_it_see_from_the_positions_given() -> None:
    """Two texts in one: each token of the second one sees that text alone, as if it were the first."""
    folder = read_folder(TINY)
    assert isinstance(folder, DecoderFolder)
    graph = OnnxGraph(folder.graph)
    assert graph.open_attention(folder.position_ids)
    first, second = np.random.default_rng(0).integers(3, 300, (2, 9))
    opened, plain = session(graph.serialized()), session(str(folder.graph))

    def fed(ids: list[int], past: int, keys: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "input_ids": np.array([ids]),
            "attention_mask": np.ones((1, past + len(ids)), np.int64),
            "past_key_values.0.key": keys,
            "past_key_values.0.value": values,
        }

    none = np.zeros((1, folder.key_value_heads, 0, folder.head_size), np.float32)
    (expected,) = plain.run(["logits"], fed([*second], 0, none, none))
    outputs = ["logits", "present.0.key", "present.0.value"]
    open_first = {folder.position_ids: np.arange(9)[None], SCORE_BIAS: np.zeros((1, 1, 9, 9), np.float32)}
    _, keys, values = opened.run(outputs, {**fed([*first], 0, none, none), **open_first})
    bias = np.zeros((1, 1, 9, 18), np.float32)
    bias[..., :9] = -np.inf
    (seen,) = opened.run(
        ["logits"],
        {**fed([*second], 9, keys, values), folder.position_ids: np.arange(9)[None], SCORE_BIAS: bias},
    )
    np.testing.assert_allclose(np.asarray(seen), np.asarray(expected), rtol=1e-5, atol=1e-5)


def test_attention_over_a_window_is_not_opened(tmp_path: Path) -> None:
    graph = OnnxGraph(TINY / "model.onnx")
    for node in graph._model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "local_window_size":
                attribute.i = 128
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.serialized())
    assert not OnnxGraph(path).open_attention("position_ids")
    opened = OnnxGraph(TINY / "model.onnx")
    assert opened.open_attention("position_ids")
    assert not opened.open_attention("position_ids"), "its bias is taken"


def test_something_else_is_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff\xff\xff\xffnot a model")
    with pytest.raises(ValueError, match="no ONNX model"):
        OnnxGraph(path)
