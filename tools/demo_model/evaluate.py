"""How well an exported model does on reports that it has never seen.

`python -m tools.demo_model.evaluate --model MODEL_DIR [--reports N] [--seed S] [--unguided] [--split train]`

Drives onnxruntime-genai, held to the schema while decoding and the company's name to words of the report (as in the
demonstration's cluster file) unless `--unguided`, and prints the share of fields that
are exactly right (numbers by value, strings by letter) by layout and by field, with the time that a report takes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime_genai as og
from tokenizers import Tokenizer

from orbit_core.spec.verbatim import quoting_grammar
from tools.demo_model.prompts import INSTRUCTION, conversation
from tui.demo.reports import FIELD_NAMES, HELD_OUT, OUTPUT_SCHEMA, TRAIN, Report, make_reports

ANSWER_MAX_TOKENS = 160
QUOTED = ("company",)


class Reader:
    """The exported model, asked one report at a time."""

    def __init__(self, folder: Path, *, guided: bool) -> None:
        config = og.Config(str(folder))
        self._model = og.Model(config)
        # The tokenizers package decodes; og's decoder stops at a byte that is no whole character.
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._guided = guided

    def answer(self, text: str) -> tuple[dict[str, Any], int]:
        """The fields that the model reads in `text` (empty where its answer is no JSON), and its tokens."""
        prompt = self._tokenizer.encode(conversation(INSTRUCTION, text)).ids
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=len(prompt) + ANSWER_MAX_TOKENS, do_sample=False)
        if self._guided:
            params.set_guidance("lark_grammar", quoting_grammar(OUTPUT_SCHEMA, QUOTED, f"{INSTRUCTION}\n{text}"))
        generator = og.Generator(self._model, params)
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
        tokens = list(generator.get_sequence(0)[len(prompt) :])
        try:
            value = json.loads(self._tokenizer.decode(tokens))
        except ValueError:
            return {}, len(tokens)
        return value if isinstance(value, dict) else {}, len(tokens)


def right_fields(report: Report, answer: dict[str, Any]) -> set[str]:
    """The names of the fields that are exactly right."""
    return {name for name, value in report.fields().items() if name in answer and answer[name] == value}


def evaluate(reader: Reader, reports: list[Report], *, show: int = 0) -> float:
    """Print the tables; the share of fields that are right."""
    by_layout: Counter[str] = Counter()
    per_layout: Counter[str] = Counter()
    by_field: Counter[str] = Counter()
    whole, tokens = 0, 0
    begun, cpu = time.perf_counter(), time.process_time()
    for report in reports:
        answer, count = reader.answer(report.text)
        right = right_fields(report, answer)
        by_layout[report.layout] += len(right)
        per_layout[report.layout] += len(FIELD_NAMES)
        by_field.update(right)
        whole += len(right) == len(FIELD_NAMES)
        tokens += count
        if show and len(right) < len(FIELD_NAMES):
            show -= 1
            wrong = [name for name in FIELD_NAMES if name not in right]
            print(f"--- {report.layout} {report.number}: {[(n, report.fields()[n], answer.get(n)) for n in wrong]}")
            print(report.text)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    count = len(reports)
    for name in sorted(per_layout):
        print(f"layout {name:12} {by_layout[name] / per_layout[name]:7.2%}")
    for name in FIELD_NAMES:
        print(f"field {name:24} {by_field[name] / count:7.2%}")
    share = by_field.total() / (count * len(FIELD_NAMES))
    print(f"{count} reports: fields right {share:.2%}, whole reports right {whole / count:.2%}")
    print(f"{seconds / count:.3f} s and {cpu / count:.3f} CPU-s a report, {tokens / seconds:.0f} answer tokens/s")
    return share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--reports", type=int, default=400)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--split", choices=(TRAIN, HELD_OUT), default=HELD_OUT)
    parser.add_argument("--unguided", action="store_true")
    parser.add_argument("--show", type=int, default=0, help="print that many reports with a wrong field")
    args = parser.parse_args()
    reports = make_reports(args.reports, seed=args.seed, split=args.split)
    evaluate(Reader(args.model, guided=not args.unguided), reports, show=args.show)


if __name__ == "__main__":
    main()
