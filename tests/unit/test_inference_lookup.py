"""Guessing tokens from earlier text, and when it pays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from orbit_agent.inference.lookup import HitRates, Lookup, Match, WidthCost, guessed


def guess(lookup: Lookup, tokens: Sequence[int], width: int) -> list[int]:
    match = lookup.match(tokens)
    return [] if match is None else guessed(tokens, match, width)


def test_what_followed_before_is_guessed() -> None:
    assert guess(Lookup(), [1, 2, 3, 4, 5, 1, 2, 3], 2) == [4, 5]


def test_fewer_tokens_are_looked_for_where_more_are_new() -> None:
    assert guess(Lookup(), [1, 2, 3, 9, 2, 3], 2) == [9, 2]
    assert guess(Lookup(), [1, 2, 3, 7, 5, 2, 3, 8, 1, 2, 3], 1) == [7], "three come before the later two"
    assert guess(Lookup(), [5, 7, 6, 5], 2) == [7, 6]


def test_what_repeats_itself_is_guessed_to_go_on_so() -> None:
    assert guess(Lookup(), [4, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1]
    assert guess(Lookup(), [9, 9], 3) == [9, 9, 9]


def test_new_text_has_no_guess() -> None:
    assert Lookup().match([1, 2, 3, 4]) is None
    assert Lookup().match([1]) is None


def test_the_latest_occurrence_counts() -> None:
    assert guess(Lookup(), [1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3], 1) == [9]


def test_text_that_grows_is_followed() -> None:
    lookup, tokens = Lookup(), [7, 8, 9]
    assert lookup.match(tokens) is None
    tokens += [1, 7, 8, 9]
    assert guess(lookup, tokens, 3) == [1, 7, 8]


def test_longer_matches_are_of_a_higher_kind() -> None:
    kinds = []
    for length in range(1, 12):
        same = list(range(100, 100 + length))
        match = Lookup().match([1, *same, 2, 3, *same])
        assert match is not None
        kinds.append(match.kind)
    assert kinds == [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4]


def test_each_kind_of_match_has_its_own_likelihood() -> None:
    rates, poor, good = HitRates(), Match(5, 0), Match(5, 4)
    assert rates.rate(None) == 0.0
    for _ in range(300):
        rates.learn(poor, count=4, right=1)
        rates.learn(good, count=4, right=4)
    assert rates.rate(poor) == pytest.approx(0.5, abs=0.01)
    assert 0.95 < rates.rate(good) < 1.0
    assert rates.rate(Match(5, 2)) > rates.rate(poor), "which nothing is known of, and is to be tried"


def line(
    start_s: float, slope_s: float, widths: Sequence[int], count: int = 1, plain_s: float | None = None
) -> WidthCost:
    """What is learnt where runs of these widths cost that, and plain ones `plain_s` or the like."""
    cost = WidthCost(count)
    for run in range(200):
        width = (count, *widths)[run % (len(widths) + 1)]
        cost.learn(width, plain_s if plain_s is not None and width == count else start_s + slope_s * width)
    return cost


def test_nothing_is_guessed_where_width_is_dear() -> None:
    assert line(0.2, 1.0, [2, 6]).best_widths([0.5]) == [0]
    assert line(4.0, 0.1, [2, 6], plain_s=2.0).best_widths([0.4]) == [0], "a wide run is dear from its first token on"


def test_much_is_guessed_where_width_is_cheap() -> None:
    assert line(1.0, 0.01, [2, 6]).best_widths([0.95]) == [16]


def test_a_plain_run_is_timed_before_anything_is_guessed_and_widths_before_one_is_chosen() -> None:
    cost = WidthCost(2)
    assert cost.best_widths([0.9, 0.0]) == [0, 0]
    cost.learn(2, 1.0)
    tried = set()
    for _ in range(6):
        tried.add(cost.best_widths([0.9, 0.0])[0])
        cost.learn(4, 2.0)
    assert tried == {1, 2, 4}, "never more than eight tokens in all"


def test_now_and_then_one_token_is_tried_where_nothing_is_guessed() -> None:
    cost = line(0.2, 1.0, [2, 6])
    tried = []
    for _ in range(200):
        (width,) = cost.best_widths([0.5])
        tried.append(width)
        cost.learn(1 + width, 0.2 + 1.0 * (1 + width))
    assert set(tried) == {0, 1}
    assert 4 <= sum(tried) <= 8


def test_one_width_alone_says_nothing_good_of_wider_ones() -> None:
    cost = WidthCost(1)
    for _ in range(20):
        cost.learn(1, 4.0)
        cost.learn(2, 4.6)
    assert 1 <= cost.best_widths([0.8])[0] <= 3


def test_of_several_each_is_guessed_as_far_as_it_is_likely_right() -> None:
    first, second, third, fourth = line(3.0, 0.4, [9, 6, 12], 4).best_widths([0.9, 0.7, 0.05, 0.9])
    assert first == fourth > second > third == 0
    (alone,) = line(3.0, 0.4, [2, 6]).best_widths([0.9])
    assert alone > first, "a place in a run is worth more where others would fill it"


def made_in(rates: Sequence[float], widths: Sequence[int], start_s: float, slope_s: float) -> float:
    tokens = sum(sum(rate**place for place in range(width + 1)) for rate, width in zip(rates, widths, strict=True))
    return tokens / (start_s + slope_s * (len(rates) + sum(widths)))


@pytest.mark.parametrize("slope_s", [0.05, 0.4, 1.5, 8.0])
@pytest.mark.parametrize("rates", [(0.7,), (0.9, 0.3), (0.6, 0.8, 0.1)])
def test_no_other_guesses_would_make_more_a_second(rates: tuple[float, ...], slope_s: float) -> None:
    cost = line(4.0, slope_s, [4, 8], len(rates))
    best = made_in(rates, cost.best_widths(rates), 4.0, slope_s)
    others = itertools.product(range(17), repeat=len(rates))
    assert best >= 0.999 * max(made_in(rates, widths, 4.0, slope_s) for widths in others)


def test_a_cost_that_changes_is_followed() -> None:
    cost = line(4.0, 0.1, [3, 8])
    assert cost.best_widths([0.6]) > [1]
    for run in range(1_000):
        width = (1, 3, 8)[run % 3]
        cost.learn(width, 3.0 * width)
    cost.learn(1, 3.0)
    assert cost.best_widths([0.6]) == [0]
