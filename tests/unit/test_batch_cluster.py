"""The preset cluster of a batch: valid for every model and window, one for each pair, the same request for the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orbit_core.batch.cluster import BatchOptions, document, identifier_of, is_batch, payload, request_id
from orbit_core.errors import InvalidRequestError
from orbit_core.spec.loader import load
from satellites.catalog import InstalledCatalog

HOUR_MS = 3_600_000
OPTIONS = BatchOptions("qwen2.5-7b-instruct", 6 * HOUR_MS)


@pytest.mark.parametrize("model", ["tiny", "1e5", "0x10", "null", "Org/Name: v2", "ü" * 200, "-", "a" * 300])
@pytest.mark.parametrize("window_ms", [10 * 60_000, 90 * 60_000, 7 * 24 * HOUR_MS])
def test_the_cluster_is_valid_and_its_model_is_what_was_said(model: str, window_ms: int) -> None:
    options = BatchOptions(model, window_ms)
    options.check()
    loaded = load(document(options), catalog=InstalledCatalog())
    assert [each for each in loaded.diagnostics if each.severity == "error"] == []
    assert loaded.cluster is not None
    assert loaded.cluster.identifier == identifier_of(options)
    assert is_batch(loaded.cluster.identifier)
    assert loaded.cluster.sla_ms == window_ms
    assert loaded.cluster.satellites[-1].config["model"] == model


def test_models_and_windows_do_not_share_a_cluster() -> None:
    models = ["a-b", "a/b", "A-B", "a b"]
    assert len({identifier_of(replace(OPTIONS, model=model)) for model in models}) == len(models)
    assert identifier_of(OPTIONS) == "batch/qwen2.5-7b-instruct-6h"
    assert identifier_of(replace(OPTIONS, window_ms=HOUR_MS)) == "batch/qwen2.5-7b-instruct-1h"


def test_the_same_file_with_the_same_options_is_the_same_request() -> None:
    def of(sha256: str, options: BatchOptions) -> str:
        return request_id(payload(sha256, 10, 3, options))

    assert of("aa", OPTIONS) == of("aa", OPTIONS)
    others = [of("bb", OPTIONS), of("aa", replace(OPTIONS, max_tokens=7)), of("aa", replace(OPTIONS, any_model=True))]
    assert len({of("aa", OPTIONS), *others}) == 4


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"window_ms": 10 * 60_000 - 1}, "window"),
        ({"window_ms": 7 * 24 * HOUR_MS + 1}, "window"),
        ({"window_ms": -5}, "window"),
        ({"max_tokens": 0}, "tokens"),
        ({"max_tokens": 1_000_001}, "tokens"),
        ({"model": ""}, "model"),
    ],
)
def test_what_no_batch_can_be_run_with_is_refused(change: dict[str, int | str], what: str) -> None:
    with pytest.raises(InvalidRequestError, match=what):
        replace(OPTIONS, **change).check()  # pyright: ignore[reportArgumentType]
