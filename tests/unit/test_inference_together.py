"""One cache for several sequences: what lies where, who sees it, and when it is copied anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orbit_agent.inference.folder import DecoderFolder, read_folder
from orbit_agent.inference.slots import Slots
from orbit_agent.inference.together import Together

TINY = Path(__file__).parents[1] / "data" / "tiny_llm"


def tiny() -> DecoderFolder:
    folder = read_folder(TINY)
    assert isinstance(folder, DecoderFolder)
    return folder


def slots_of(budget_tokens: int = 4_096) -> Slots:
    folder = tiny()
    slots = Slots(folder, "float32", 4, budget_tokens * folder.key_value_bytes_per_token(4))
    for slot in range(4):
        for _, _, array in slots.arrays:
            array[slot] = 1_000 * (slot + 1) + np.arange(slots.length)[None, :, None]
    return slots


@pytest.fixture
def slots() -> Slots:
    """Each place of each slot holds a number that tells which it is: 1,000 for each slot, from 1,000 on."""
    return slots_of()


def held(together: Together, count: int) -> list[int]:
    return together.arrays[0][2][0, 0, :count, 0].astype(int).tolist()


def seen(together: Together, new: list[int], columns: int) -> list[list[int]]:
    """The columns that each new token sees."""
    bias = np.empty((sum(new), columns), np.float32)
    together.bias(bias)
    assert set(np.unique(bias)) <= {0.0, -np.inf}
    return [np.flatnonzero(row == 0.0).tolist() for row in bias]


def written(together: Together, place: int, values: list[int]) -> None:
    """What a run does: it writes new tokens behind all others."""
    for _, _, array in together.arrays:
        array[0, :, place : place + len(values)] = np.array(values)[:, None]


def test_sequences_lie_behind_each_other_and_each_sees_its_own(slots: Slots) -> None:
    together = Together(slots, 512)
    assert together.place([3, 2], [1, 2]) == 5
    assert held(together, 5) == [1000, 1001, 1002, 2000, 2001]
    assert seen(together, [1, 2], 10) == [[0, 1, 2, 5], [3, 4, 6, 7], [3, 4, 6, 7]]


def test_what_is_kept_is_seen_from_then_on_and_lies_in_its_slot(slots: Slots) -> None:
    together = Together(slots, 512)
    together.place([3, 2], [3, 2])
    written(together, 5, [71, 72, 73, 81, 82])
    together.keep([2, 1])
    assert slots.arrays[1][2][0, 0, :6, 0].tolist() == [1000, 1001, 1002, 71, 72, 1005], "and nothing of a wrong guess"
    assert slots.arrays[0][2][1, 0, :4, 0].tolist() == [2000, 2001, 81, 2003]
    assert together.place([5, 3], [1, 1]) == 10
    assert seen(together, [1, 1], 12) == [[0, 1, 2, 5, 6, 10], [3, 4, 8, 11]]


def test_slots_that_may_hold_others_are_copied_anew(slots: Slots) -> None:
    together = Together(slots, 512)
    together.place([2, 2], [1, 1])
    slots.copy(3, 0, 2)
    assert together.place([2, 2], [1, 1]) == 4
    assert held(together, 4) == [4000, 4001, 2000, 2001]


def test_sequences_of_other_lengths_than_were_kept_are_copied_anew(slots: Slots) -> None:
    together = Together(slots, 512)
    together.place([2, 2], [4, 4])
    assert together.place([2, 3], [1, 1]) == 5, "what was run was not kept"
    assert held(together, 5) == [1000, 1001, 2000, 2001, 2002]


def test_wrong_guesses_are_looked_past_until_there_are_many(slots: Slots) -> None:
    together = Together(slots, 512)
    pasts, places = [2, 2], []
    for _ in range(12):
        places.append(together.place(pasts, [8, 8]))
        together.keep([1, 1])
        pasts = [past + 1 for past in pasts]
    assert places[:5] == [4, 20, 36, 52, 68]
    assert places[5] == sum([2, 2]) + 2 * 5, "tidied"
    assert max(place or 0 for place in places) < 100


def test_memory_is_borrowed_from_the_slots_and_given_back() -> None:
    slots = slots_of(700)
    together = Together(slots, 512)
    assert slots.fits(0, 700)
    assert together.place([100, 100], [1, 1]) == 200
    assert slots.lent == together.positions == 512
    assert not slots.fits(0, 200)
    assert slots.fits(0, 188)
    together.drop()
    assert slots.fits(0, 700)
    assert (together.arrays, together.positions) == ([], 0)


def test_what_has_no_room_is_not_run_together(slots: Slots) -> None:
    assert Together(slots, 512).place([300, 212], [1, 1]) is None, "more than the model's positions"
    few = slots_of(300)
    few.high_water[0] = 200
    assert Together(few, 512).place([20, 20], [1, 1]) is None
    assert few.lent == 0
