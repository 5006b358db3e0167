"""`python -m bench.market [--json] [--full] [--only SECTION]`: what each policy costs over perfect knowledge.

As it is, the table takes a few minutes of one core: three windows of each recording, evenly spread over it, and two
markets of each made-up family. `--full` plays twelve and eight.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from bench.market.markets import RECORDED, recorded
from bench.market.table import POLICIES, Result, lines, measure


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.market", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument("--full", action="store_true", help="twelve windows, eight markets of each family")
    parser.add_argument("--windows", type=int, help="windows of each recording (3, or 12 with --full)")
    parser.add_argument("--seeds", type=int, help="markets of each made-up family (2, or 8 with --full)")
    parser.add_argument("--only", default="", help="sections whose name holds this (paid, held out, recorded …)")
    options = parser.parse_args(arguments)
    windows = options.windows or (12 if options.full else 3)
    seeds = options.seeds or (8 if options.full else 2)
    began_s = time.process_time()
    if not recorded():
        print(f"no recordings in {RECORDED}: their lines are left out", file=sys.stderr)
    results: list[Result] = []
    for line in (line for line in lines(windows, seeds) if options.only in line.section):
        if not options.json and (not results or results[-1].line.section != line.section):
            _print_means(results)
            _print_head(line.section)
        results.append(measure(line))
        if not options.json:
            _print_line(results[-1])
    if options.json:
        print(json.dumps({"lines": [_plain(result) for result in results], "means": _means(results)}, indent=1))
    else:
        _print_means(results)
        print(f"\n{windows} windows, {seeds} markets of a family; {time.process_time() - began_s:.0f} s of CPU time")
    return 1 if any(result.missed.get("orbit") for result in results) else 0


def _print_head(section: str) -> None:
    names = " ".join(f"{name:>9}" for name in POLICIES)
    print(
        f"\n{section}: cost ÷ perfect knowledge\n"
        f"{'market':16} {'due':>4} {'restart':>7} {'move':>5} {names}  missed  ms/tick"
    )


def _print_line(result: Result) -> None:
    job = result.line.job
    ratios = " ".join(f"{result.ratio[name]:9.3f}" if name in result.ratio else f"{'':9}" for name in POLICIES)
    hidden = "?" if job.hidden else " "
    print(
        f"{result.line.market:16} {job.deadline_s / 3600:3.0f}h {job.restart_s / 60:5.0f} m "
        f"{job.move_usd:4.2f}{hidden} {ratios}  {sum(result.missed.values()):6}  {result.orbit_ms_per_tick:7.2f}",
        flush=True,
    )


def _print_means(results: list[Result]) -> None:
    if not results:
        return
    means = _means(results)[results[-1].line.section]
    ratios = " ".join(f"{means[name]:9.3f}" if name in means else f"{'':9}" for name in POLICIES)
    mine = [result for result in results if result.line.section == results[-1].line.section]
    missed, ms = sum(sum(result.missed.values()) for result in mine), [result.orbit_ms_per_tick for result in mine]
    print(f"{'mean':36}{ratios}  {missed:6}  {sum(ms) / len(ms):7.2f}")


def _means(results: list[Result]) -> dict[str, dict[str, float]]:
    """The mean ratio of each policy in each section, every line counting the same."""
    means: dict[str, dict[str, float]] = {}
    for section in dict.fromkeys(result.line.section for result in results):
        mine = [result for result in results if result.line.section == section]
        means[section] = {name: sum(result.ratio[name] for result in mine) / len(mine) for name in mine[0].ratio}
    return means


def _plain(result: Result) -> dict[str, object]:
    job = result.line.job
    return {
        "section": result.line.section,
        "market": result.line.market,
        "deadline_h": job.deadline_s / 3600,
        "restart_s": job.restart_s,
        "move_usd": job.move_usd,
        "hidden": job.hidden,
        "windows": result.windows,
        "hindsight_usd": result.hindsight_usd,
        "ratio": result.ratio,
        "missed": result.missed,
        "orbit_ms_per_tick": result.orbit_ms_per_tick,
    }


if __name__ == "__main__":
    sys.exit(main())
