"""Guessing tokens from earlier text, and when it pays."""

from __future__ import annotations

from orbit_agent.inference.lookup import Lookup, WidthCost


def test_what_followed_before_is_guessed() -> None:
    assert Lookup().guess([1, 2, 3, 4, 5, 1, 2, 3], 2) == [4, 5]


def test_two_tokens_are_looked_for_where_three_are_new() -> None:
    assert Lookup().guess([1, 2, 3, 9, 2, 3], 2) == [9, 2]
    assert Lookup().guess([1, 2, 3, 7, 5, 2, 3, 8, 1, 2, 3], 1) == [7], "three come before the later two"
    assert Lookup().guess([1, 2, 1, 2], 1) == [1]


def test_new_text_has_no_guess() -> None:
    lookup = Lookup()
    assert lookup.guess([1, 2, 3, 4], 4) == []
    assert lookup.guess([1, 2], 4) == []


def test_the_latest_occurrence_counts() -> None:
    assert Lookup().guess([1, 2, 3, 4, 1, 2, 3, 9, 1, 2, 3], 1) == [9]


def test_text_that_grows_is_followed() -> None:
    lookup, tokens = Lookup(), [7, 8, 9]
    assert lookup.guess(tokens, 3) == []
    tokens += [1, 7, 8, 9]
    assert lookup.guess(tokens, 3) == [1, 7, 8]


def test_guesses_stop_when_they_are_wrong_and_width_is_dear() -> None:
    cost, lookup = WidthCost(), Lookup()
    cost.learn(1, 1.0)
    cost.learn(5, 3.0)  # half as much again for each further token
    for _ in range(30):
        lookup.learn(4, 0)
    assert cost.best_width(lookup.hit_rate) == 0


def test_guesses_grow_when_they_are_right_and_width_is_cheap() -> None:
    cost, lookup = WidthCost(), Lookup()
    cost.learn(1, 1.0)
    cost.learn(5, 1.2)
    for _ in range(30):
        lookup.learn(4, 4)
    assert cost.best_width(lookup.hit_rate) == 16


def test_nothing_is_guessed_before_a_plain_step_was_timed() -> None:
    cost = WidthCost()
    assert cost.best_width(0.9) == 0
    cost.learn(1, 1.0)
    assert cost.best_width(0.9) > 0
