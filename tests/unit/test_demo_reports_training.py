"""What the demonstration model is trained on: samples, their targets, and the tokenizer that is shipped."""

from __future__ import annotations

import json
from random import Random

import pytest

from tui.demo.reports import TRAIN, make_report, make_reports

pytest.importorskip("tokenizers", reason="the cpu extra is not installed")

from tokenizers import Tokenizer

from tools.demo_model.data import IGNORED, Samples, collate, encode, renamed, roughened
from tools.demo_model.prompts import INSTRUCTION, TURN_END
from tools.demo_model.tokenizer import answer_tokens, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer()


def test_digits_stand_alone_and_an_answer_is_little_more_than_its_values(tokenizer: Tokenizer) -> None:
    report = make_report(0, seed=12)
    encoding = tokenizer.encode(report.answer)
    assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == report.answer
    assert all(len(token) == 1 for token in encoding.tokens if any(c.isdigit() for c in token))
    assert [token for token in encoding.tokens if token in answer_tokens()] == answer_tokens()


def test_targets_are_the_ids_one_step_ahead_and_answers_are_found_in_them(tokenizer: Tokenizer) -> None:
    reports = make_reports(5, seed=13)
    samples = [encode(tokenizer, INSTRUCTION, report.text, report.answer) for report in reports]
    batch = collate(samples)
    for row, (ids, prompt) in enumerate(samples):
        length = len(ids) - 1
        assert batch.ids[row, :length].tolist() == ids[:-1]
        assert batch.targets[row, :length].tolist() == ids[1:]
        assert (batch.targets[row, length:] == IGNORED).all()
        answer = batch.answer_targets[row][batch.answer_targets[row] != IGNORED].tolist()
        assert answer == ids[prompt:]
        assert batch.targets[row, batch.answer_at[row, : len(answer)]].tolist() == answer


def test_roughened_text_keeps_every_name_and_every_number() -> None:
    changed = 0
    for number in range(50):
        report = make_report(number, seed=14, split=TRAIN)
        text = roughened(report.text, report.facts.company, Random(number))
        assert report.facts.company in " ".join(text.split())
        assert [c for c in text if not c.isalpha()] != [] and digits(text) == digits(report.text)
        changed += text != report.text
    assert changed >= 40


def test_a_renamed_company_is_renamed_in_text_and_answer_alike() -> None:
    changed = 0
    for number in range(50):
        report = make_report(number, seed=16, split=TRAIN)
        text, answer = renamed(report.text, report.answer, report.facts.company, Random(number))
        company = json.loads(answer)["company"]
        assert company in " ".join(text.split())
        assert digits(text) == digits(report.text) and digits(answer) == digits(report.answer)
        changed += company != report.facts.company
    assert changed >= 35


def digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit() or c in ".,%()$-")


def test_a_sample_is_the_same_each_time_and_ends_its_turn(tokenizer: Tokenizer) -> None:
    first, again = (Samples(tokenizer, seed=15).sample(3, easy=False) for _ in range(2))
    assert first == again
    ids, prompt = first
    answer = tokenizer.decode(ids[prompt:], skip_special_tokens=False)
    assert answer.endswith(TURN_END)
    assert json.loads(answer.removesuffix(TURN_END))["company"]
