"""The choice of an execution provider, and what is refused."""

from __future__ import annotations

import json
import logging

import pytest

from orbit_agent.inference import providers
from orbit_agent.inference.errors import ProviderError
from orbit_agent.inference.providers import CPU, CUDA, Providers, check_wheels, choose, read_answer

WHEELS = {"onnxruntime": "1.31.1", "onnxruntime-genai": "0.18.0"}
GPU_WHEELS = {"onnxruntime-gpu": "1.31.1", "onnxruntime-genai-cuda": "0.18.0"}


def found(*usable: str, built_in: tuple[str, ...] = (CUDA, CPU)) -> Providers:
    return Providers(GPU_WHEELS, built_in, usable)


def test_a_machine_with_a_working_gpu_uses_it() -> None:
    assert choose(found(CUDA, CPU)) == CUDA


def test_a_gpu_that_is_built_in_but_does_not_work_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "orbit.inference"):
        assert choose(found(CPU)) == CPU
    assert "built in but not usable: CUDAExecutionProvider" in caplog.text
    assert "onnxruntime-gpu 1.31.1" in caplog.text


def test_a_provider_that_nobody_asked_for_is_not_chosen() -> None:
    assert choose(found("AzureExecutionProvider", CPU, built_in=("AzureExecutionProvider", CPU))) == CPU
    with pytest.raises(ProviderError, match="no execution provider works"):
        choose(found("AzureExecutionProvider"))


def test_a_wish_is_followed_or_refused() -> None:
    assert choose(found(CUDA, CPU), wanted=CPU) == CPU
    with pytest.raises(ProviderError, match="CUDAExecutionProvider does not work here"):
        choose(found(CPU), wanted=CUDA)


@pytest.mark.parametrize("installed", [WHEELS, GPU_WHEELS])
def test_one_set_of_wheels_is_accepted(installed: dict[str, str]) -> None:
    check_wheels(installed)


@pytest.mark.parametrize(
    "installed",
    [
        WHEELS | GPU_WHEELS,
        {**WHEELS, "onnxruntime-gpu": "1.31.1"},
        {**GPU_WHEELS, "onnxruntime-genai": "0.18.0"},
    ],
)
def test_wheels_that_overwrite_each_other_are_refused(installed: dict[str, str]) -> None:
    with pytest.raises(ProviderError, match="overwrite each other"):
        check_wheels(installed)


@pytest.mark.parametrize("installed", [{}, {"onnxruntime": "1.31.1"}])
def test_missing_wheels_are_named(installed: dict[str, str]) -> None:
    with pytest.raises(ProviderError, match="is installed") as caught:
        check_wheels(installed)
    assert "orbit-mesh[cpu]" in str(caught.value)


def test_an_answer_is_the_last_line() -> None:
    answer = b"some library's greeting\n" + json.dumps({"built-in": [CUDA, CPU], "usable": [CPU]}).encode() + b"\n"
    assert read_answer(answer, b"", 0, WHEELS) == Providers(WHEELS, (CUDA, CPU), (CPU,))


@pytest.mark.parametrize("answer", [b"", b"{}", b"Segmentation fault", b'["a"]'])
def test_a_probe_that_crashed_is_an_error_with_its_last_words(answer: bytes) -> None:
    with pytest.raises(ProviderError, match=r"status -11.*libcuda"):
        read_answer(answer, b"loading\nlibcuda is broken\n", -11, WHEELS)


async def test_the_probe_finds_the_cpu_of_this_machine() -> None:
    result = await providers.probe()
    assert CPU in result.usable
    assert set(result.usable) <= set(result.built_in)


async def test_nothing_is_probed_where_wheels_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "installed_wheels", lambda: WHEELS | GPU_WHEELS)
    with pytest.raises(ProviderError, match="overwrite each other"):
        await providers.probe()
