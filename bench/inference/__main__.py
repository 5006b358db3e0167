"""Runs every contender over every load, in turns, and prints one table and its ratios.

    python -m bench.inference [--json] [--precision fp32 int4] [--threads 1] [--repeats 3] [--model FOLDER]

Contenders live in processes of their own, new ones in each repeat, and take turns load by load, so that whatever else
the machine does falls on all of them. Figures are tokens made per second of CPU time, over all repeats.
`ORBIT_EXPORT_PYTHON` and `ORBIT_OPTIMUM_PYTHON` name the Pythons that make the model and run optimum; what lacks its
Python is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.inference import models
from bench.inference.contenders import CONTENDERS
from bench.inference.loading import described, load_times
from bench.inference.workload import CONCURRENCIES, Load, guided_loads, loads

OURS = "orbit"
LOADS = (*map(str, CONCURRENCIES), "mixed", "steps")
ROUNDS = (6, 2, 1, 1)  # for each concurrency, so that each load takes about as long
WARM_UP_SEED = 10_000


@dataclass(slots=True)
class Figure:
    """What one contender made of one load, over all repeats."""

    tokens: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_bytes: int = 0
    runs: int = 0

    def add(self, answer: dict[str, Any]) -> None:
        self.tokens += answer["tokens"]
        self.cpu_s += answer["cpu_s"]
        self.wall_s += answer["wall_s"]
        self.memory_bytes = max(self.memory_bytes, answer["memory_bytes"])
        self.runs += 1

    @property
    def tokens_per_cpu_second(self) -> float:
        return self.tokens / self.cpu_s if self.cpu_s else 0.0


class Process:
    """A contender's process."""

    def __init__(self, command: list[str]) -> None:
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  it lives as long as the process
        self._process = subprocess.Popen(
            command, cwd=models.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        raise RuntimeError(f"a contender ended with status {status}: {self._errors.read()[-2000:]}")

    def run(self, load: Load) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([[asdict(item) for item in items] for items in load.rounds]) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


@dataclass(slots=True)
class Report:
    """Everything that one run found out about one model."""

    model: str
    threads: int
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    load_s: dict[str, float] = field(default_factory=dict)

    def best_peer(self, load: str) -> tuple[str, float]:
        """The best of the others at this load."""
        peers = {
            name: by_load[load].tokens_per_cpu_second
            for name, by_load in self.figures.items()
            if not name.startswith(OURS) and load in by_load
        }
        return max(peers.items(), key=lambda pair: pair[1])

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        guided = self.figures[OURS]
        return {
            "model": self.model,
            "threads": self.threads,
            "tokens_per_cpu_second": {
                name: {load: round(f.tokens_per_cpu_second, 1) for load, f in by_load.items() if load in LOADS}
                for name, by_load in self.figures.items()
            },
            "ratio_to_best_peer": {
                load: {"peer": peer, "ratio": round(guided[load].tokens_per_cpu_second / rate, 3)}
                for load in LOADS
                for peer, rate in [self.best_peer(load)]
            },
            "first_token_ms": {
                name: round(by_load["first"].wall_s / by_load["first"].tokens * 1000, 2)
                for name, by_load in self.figures.items()
            },
            "memory_mib": {
                name: round(max(f.memory_bytes for f in by_load.values()) / 2**20)
                for name, by_load in self.figures.items()
            },
            "guided_extra_cost": round(
                guided["free"].tokens_per_cpu_second / guided["guided"].tokens_per_cpu_second - 1, 3
            ),
            "load_s": {name: round(seconds, 6) for name, seconds in self.load_s.items()},
            "left_out": self.left_out,
        }


def measure(model: models.BenchModel, threads: int, repeats: int, only: list[str] | None) -> Report:
    """Runs everything over one model."""
    report = Report(model.name, threads)
    commands = {
        name: [sys.executable, "-m", "bench.inference.contenders", name, str(model.folder), str(threads)]
        for name in CONTENDERS
        if only is None or name in only
    }
    add_optimum(model, threads, commands, report)
    for repeat in range(repeats):
        # Processes of its own for each repeat: where weights come to lie in memory is worth a tenth either way.
        processes = {name: Process(command) for name, command in commands.items()}
        try:
            run_repeat(model.folder, repeat, processes, report)
        finally:
            for process in processes.values():
                process.close()
    report.load_s = load_times(model.folder, threads)
    return report


def run_repeat(folder: Path, repeat: int, processes: dict[str, Process], report: Report) -> None:
    """Every load by every contender, in turns.

    Each runs a load like it, with other prompts, right before: what a process finds ready when it has been at work for
    a while (memory that was touched, weights in the caches) is there for all, whoever had to wait longest for its turn.
    """
    warm_ups = [*loads(folder, WARM_UP_SEED + repeat, (1, 1, 1, 1)), *guided_loads(folder, WARM_UP_SEED + repeat, 16)]
    measured = [*loads(folder, repeat, ROUNDS), *guided_loads(folder, repeat, 16)]
    for warm_up, load in zip(warm_ups, measured, strict=True):
        for name, process in processes.items():
            if takes_part(name, load.name):
                process.run(warm_up)
                report.figures.setdefault(name, {}).setdefault(load.name, Figure()).add(process.run(load))


def takes_part(name: str, load: str) -> bool:
    """Whether this contender is asked for this load."""
    if load in ("free", "guided"):
        return name == OURS
    return name != "optimum" or load not in ("mixed", "steps")


def add_optimum(model: models.BenchModel, threads: int, commands: dict[str, list[str]], report: Report) -> None:
    """Adds optimum where there is an environment and a checkpoint for it."""
    python = os.environ.get("ORBIT_OPTIMUM_PYTHON")
    if python is None or model.checkpoint is None:
        reason = "no checkpoint of this model" if python else "ORBIT_OPTIMUM_PYTHON is not set"
        report.left_out.append(f"optimum: {reason}")
        return
    script = models.ROOT / "bench" / "inference" / "optimum_peer.py"
    commands["optimum"] = [python, str(script), str(model.checkpoint), str(threads)]
    report.left_out.append("optimum at mixed load and steps: it knows no schemas")


def print_report(data: dict[str, Any]) -> None:
    """The tables."""
    print(f"\n{data['model']}; {data['threads']} thread(s); tokens per CPU-second at so many concurrent requests")
    print(f"{'':24}" + "".join(f"{load:>8}" for load in LOADS) + f"{'first token':>13}{'memory':>10}")
    for name, figures in data["tokens_per_cpu_second"].items():
        cells = "".join(f"{figures[load]:8.0f}" if load in figures else f"{'–':>8}" for load in LOADS)
        print(f"{name:24}{cells}{data['first_token_ms'][name]:10.1f} ms{data['memory_mib'][name]:6} MiB")
    ratios = data["ratio_to_best_peer"]
    print(f"{'orbit / best peer':24}" + "".join(f"{ratios[load]['ratio']:8.2f}" for load in LOADS))
    print(f"guided output costs {data['guided_extra_cost']:+.1%} for each token where nothing is forced")
    print(described(data["load_s"]))
    for line in data["left_out"]:
        print(f"left out: {line}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "int4"], default=["fp32", "int4"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a model folder of your own")
    parser.add_argument("--only", nargs="+", help="these contenders alone; orbit and a peer must be among them")
    arguments = parser.parse_args()
    if arguments.model is not None:
        chosen = [models.BenchModel(arguments.model.name, arguments.model, None)]
    else:
        chosen = list({m.folder: m for m in map(models.bench_model, arguments.precision)}.values())
    reports = [measure(m, arguments.threads, arguments.repeats, arguments.only).to_json() for m in chosen]
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        for data in reports:
            print_report(data)


if __name__ == "__main__":
    main()
