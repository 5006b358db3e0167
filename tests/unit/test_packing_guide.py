"""Prices of pieces of a GPU: what a cutting-stock program must say about mixes that can be worked out by hand."""

from __future__ import annotations

import pytest

from orbit_core.sched._packing.guide import Piece, piece_prices


def test_pieces_that_complete_each_other_are_worth_a_gpu_together():
    prices = piece_prices({Piece(1_000): 2, Piece(650): 1, Piece(350): 1}, {None: 10}).of_piece
    assert prices[Piece(1_000)] == pytest.approx(1_000)
    assert prices[Piece(650)] + prices[Piece(350)] == pytest.approx(1_000)


def test_a_stub_that_is_commoner_than_its_filling_is_worth_nothing():
    # Nine of ten 810s find no 190; the proportion that fits is what they leave.
    prices = piece_prices({Piece(810): 10, Piece(190): 1}, {None: 100})
    assert prices.of_piece[Piece(190)] == pytest.approx(0, abs=1)
    assert prices.of_piece[Piece(810)] > 800
    assert prices.filled == pytest.approx((8_100 + 190) / 10_000, abs=1e-6)


def test_a_gpu_model_that_is_short_leaves_the_others_their_worth():
    scarce = Piece(1_000, ("A10",))
    demand = {Piece(1_000): 5, Piece(650): 2, Piece(350): 2, scarce: 2}
    prices = piece_prices(demand, {"A10": 1, "T4": 100})
    assert prices.of_piece[Piece(1_000)] > 500
    assert prices.of_piece[Piece(650)] + prices.of_piece[Piece(350)] == pytest.approx(prices.of_piece[Piece(1_000)])
    assert prices.of_piece[scarce] > prices.of_piece[Piece(1_000)]


def test_pieces_for_which_there_is_no_gpu_are_worth_nothing():
    bound = Piece(500, ("H100",))
    prices = piece_prices({bound: 1, Piece(500): 1}, {"T4": 4})
    assert prices.of_piece == {bound: 0.0, Piece(500): pytest.approx(500)}
    assert piece_prices({bound: 1}, {"T4": 4}).of_piece == {bound: 0.0}
    assert piece_prices({}, {}).of_piece == {}
