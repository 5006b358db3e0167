"""What a model folder says about itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orbit_agent.inference.decoder import why_not_batched
from orbit_agent.inference.errors import UnsupportedModelError
from orbit_agent.inference.folder import DecoderFolder, EncoderFolder, read_folder

DATA = Path(__file__).parents[1] / "data"


def changed_config(folder: Path, change: Any) -> Path:
    """A copy of the tiny decoder whose configuration `change` has edited."""
    shutil.copytree(DATA / "tiny_llm", folder)
    path = folder / "genai_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder


def decoder(path: Path) -> DecoderFolder:
    folder = read_folder(path)
    assert isinstance(folder, DecoderFolder)
    return folder


def test_a_decoder_is_read() -> None:
    folder = decoder(DATA / "tiny_llm")
    assert (folder.context_length, folder.vocabulary, folder.eos_ids, folder.layers) == (512, 384, (2,), 1)
    assert folder.key_value_bytes_per_token(4) == 2 * 1 * 1 * 16 * 4
    assert why_not_batched(folder) is None


def test_several_end_tokens_are_read(tmp_path: Path) -> None:
    path = changed_config(tmp_path / "m", lambda config: config["model"].update(eos_token_id=[2, 5]))
    assert decoder(path).eos_ids == (2, 5)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda c: c["search"].update(past_present_share_buffer=False), "share a buffer"),
        (lambda c: c["model"]["decoder"]["inputs"].update(input_ids="tokens"), "inputs input_ids"),
        (lambda c: c["model"]["decoder"].update(num_hidden_layers=2), "no input past_key_values.1"),
        (lambda c: c["model"]["decoder"].pop("head_size"), "cache of another kind"),
        (lambda c: c.update(engine={"dynamic_batching": {}}), "cache of another kind"),
    ],
)
def test_what_continuous_batching_cannot_run_is_said(tmp_path: Path, change: Any, reason: str) -> None:
    why = why_not_batched(decoder(changed_config(tmp_path / "m", change)))
    assert why is not None
    assert reason in why


def test_an_embedder_is_read() -> None:
    folder = read_folder(DATA / "tiny_embedder")
    assert isinstance(folder, EncoderFolder)
    assert (folder.task, folder.labels, folder.pooling, folder.context_length) == ("embed", (), "mean", 64)


def test_a_classifier_has_its_labels_in_order() -> None:
    folder = read_folder(DATA / "tiny_classifier")
    assert isinstance(folder, EncoderFolder)
    assert (folder.task, folder.labels) == ("classify", ("buy", "hold", "sell"))


def test_a_classifier_of_one_label_ranks(tmp_path: Path) -> None:
    shutil.copytree(DATA / "tiny_classifier", tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "id2label": {"0": "LABEL_0"}}))
    folder = read_folder(tmp_path / "m")
    assert isinstance(folder, EncoderFolder)
    assert folder.task == "rerank"


def test_pooling_is_the_folders(tmp_path: Path) -> None:
    shutil.copytree(DATA / "tiny_embedder", tmp_path / "m")
    (tmp_path / "m" / "1_Pooling").mkdir()
    (tmp_path / "m" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    folder = read_folder(tmp_path / "m")
    assert isinstance(folder, EncoderFolder)
    assert folder.pooling == "cls"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"model": {"decoder": {}}}'])
def test_a_broken_configuration_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "genai_config.json").write_text(content)
    with pytest.raises(UnsupportedModelError, match=r"genai_config\.json"):
        read_folder(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="orbit models export"):
        read_folder(tmp_path)
