"""How tokens are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from orbit_agent.inference.api import Sampling
from orbit_agent.inference.errors import InvalidGenerationError
from orbit_agent.inference.sampling import Sampler, check_sampling, nucleus


def logits(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def draws(settings: Sampling, values: np.ndarray, count: int = 2_000) -> np.ndarray:
    sampler = Sampler(settings)
    return np.bincount([sampler.draw(values) for _ in range(count)], minlength=len(values)) / count


def test_greedy_takes_the_likeliest() -> None:
    assert Sampler(Sampling()).draw(logits(0.1, 3.0, 2.9)) == 1
    assert Sampler(Sampling(temperature=1.0, top_k=1)).draw(logits(0.1, 3.0, 2.9)) == 1


def test_frequencies_are_those_of_the_softmax() -> None:
    values = logits(0.0, 1.0, 2.0)
    expected = np.exp(values / 0.7) / np.exp(values / 0.7).sum()
    assert draws(Sampling(temperature=0.7, seed=1), values) == pytest.approx(expected, abs=0.04)


def test_a_masked_token_is_never_drawn() -> None:
    assert draws(Sampling(temperature=5.0, seed=3), logits(1.0, -np.inf, 1.0, -np.inf))[[1, 3]].sum() == 0


def test_top_k_leaves_k_tokens() -> None:
    shares = draws(Sampling(temperature=2.0, top_k=2, seed=5), logits(1.0, 0.9, 0.8, 0.7))
    assert set(np.flatnonzero(shares)) == {0, 1}


def test_top_p_leaves_the_nucleus() -> None:
    shares = draws(Sampling(temperature=1.0, top_p=0.6, seed=5), np.log(logits(0.5, 0.3, 0.1, 0.1)))
    assert set(np.flatnonzero(shares)) == {0, 1}


def test_top_k_and_top_p_work_together() -> None:
    shares = draws(Sampling(temperature=1.0, top_k=3, top_p=0.99, seed=5), np.log(logits(0.1, 0.5, 0.1, 0.3)))
    assert 1 in np.flatnonzero(shares)
    assert np.count_nonzero(shares) == 3


def test_the_nucleus_of_a_flat_distribution_is_found_beyond_the_first_guess() -> None:
    weights = np.full(10_000, 1.0, np.float32)
    assert len(nucleus(weights, 0.9)) == pytest.approx(9_000, abs=1)


def test_the_nucleus_of_one_certain_token_is_that_token() -> None:
    assert nucleus(logits(0.0, 1.0, 0.0), 0.01).tolist() == [1]


def test_a_seed_gives_the_same_tokens() -> None:
    values = np.random.default_rng(0).normal(size=50).astype(np.float32)
    runs = [[Sampler(Sampling(temperature=1.0, seed=7)).draw(values) for _ in range(1)] for _ in range(3)]
    first, second = Sampler(Sampling(temperature=1.0, seed=7)), Sampler(Sampling(temperature=1.0, seed=7))
    assert [first.draw(values) for _ in range(20)] == [second.draw(values) for _ in range(20)]
    assert runs[0] == runs[1] == runs[2]
    other = Sampler(Sampling(temperature=1.0, seed=8))
    assert [first.draw(values) for _ in range(20)] != [other.draw(values) for _ in range(20)]


@pytest.mark.parametrize(
    "settings",
    [
        Sampling(temperature=-0.1),
        Sampling(temperature=float("nan")),
        Sampling(temperature=1e9),
        Sampling(top_p=0.0),
        Sampling(top_p=1.1),
        Sampling(top_k=-1),
        Sampling(seed=-1),
    ],
)
def test_settings_out_of_range_are_refused(settings: Sampling) -> None:
    with pytest.raises(InvalidGenerationError):
        check_sampling(settings)
