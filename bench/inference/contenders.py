"""One contender in a process of its own: `python -m bench.inference.contenders NAME MODEL THREADS`.

It reads one load a line from stdin (JSON) and answers each with one line: tokens made, CPU seconds, wall seconds. What
is measured is everything that the contender's processes burn between the first request and the last answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import psutil

from bench.inference.workload import Item


class Contender(ABC):
    """Something that makes texts. `run` returns the tokens of each output, in order."""

    @abstractmethod
    def run(self, items: Sequence[Item]) -> list[int]:
        """Answers all `items`, which are there at once; how many tokens each answer has."""

    def processes(self) -> list[psutil.Process]:
        """Every process that works for it."""
        return [psutil.Process()]

    def memory_bytes(self) -> int:
        """What the process that holds the model has in memory."""
        return psutil.Process().memory_info().rss

    def close(self) -> None:  # noqa: B027  most have nothing to end
        """Ends what it has started."""


class Orbit(Contender):
    """The model server with its model process. `lookup`: with guesses from earlier text, as it runs by default."""

    def __init__(self, model: Path, threads: int, lookup: bool = True) -> None:
        from orbit_agent.inference.server import ModelServer
        from orbit_agent.models.store import ModelStore

        self._scratch = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        store = ModelStore(Path(self._scratch.name))
        store.add("bench", f"folder:{model}")
        self._server = ModelServer(store, threads=threads, memory_limit_bytes=4 << 30, lookup=lookup)
        self._loop.run_until_complete(self._server.start())
        self._loop.run_until_complete(self._server.warm("bench"))
        self._loop.run_until_complete(self._server.standing_by())  # the next load's process: no cost of any request

    def run(self, items: Sequence[Item]) -> list[int]:
        return self._loop.run_until_complete(self._run(items))

    async def _run(self, items: Sequence[Item]) -> list[int]:
        from orbit_agent.inference.api import GenerateRequest

        requests = [
            GenerateRequest(str(n), "bench", prompt=i.text, max_new_tokens=i.new_tokens, json_schema=i.schema)
            for n, i in enumerate(items)
        ]
        results = await asyncio.gather(*map(self._server.generate, requests))
        return [result.output_tokens for result in results]

    def processes(self) -> list[psutil.Process]:
        return [psutil.Process(), *psutil.Process().children(recursive=True)]

    def memory_bytes(self) -> int:
        return self._server.loaded()[0].memory_bytes

    def close(self) -> None:
        self._loop.run_until_complete(self._server.close())
        self._scratch.cleanup()


class PlainOrbit(Orbit):
    """The model server without guesses."""

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads, lookup=False)


class _Genai(Contender):
    """What the two ways to use onnxruntime-genai share."""

    BATCH = 32  # the most that genai's generator takes

    def __init__(self, model: Path, threads: int, batch: int = BATCH) -> None:
        import onnxruntime_genai as genai

        os.nice(10)  # as the model server's processes do
        self._genai: Any = genai
        config = self._genai.Config(str(model))
        options = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": "0"}
        engine = {"static_batching": {"max_batch_size": batch}}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}, "engine": engine}))
        self._model = self._genai.Model(config)
        eos = json.loads((model / "genai_config.json").read_text())["model"]["eos_token_id"]
        self._eos = set(eos) if isinstance(eos, list) else {eos}

    @staticmethod
    def schema(item: Item) -> str:
        return json.dumps({"x-guidance": {"whitespace_flexible": False}, **(item.schema or {})})


class GenaiGenerator(_Genai):
    """`og.Generator`: batches of equal prompts without a schema, all else one by one (it can do no more)."""

    def run(self, items: Sequence[Item]) -> list[int]:
        import numpy as np

        groups: dict[tuple[int, int], list[int]] = {}
        for place, item in enumerate(items):
            key = (len(item.tokens), item.new_tokens) if item.schema is None else (-1, place)
            groups.setdefault(key, []).append(place)
        counts = [0] * len(items)
        for places in groups.values():
            for start in range(0, len(places), self.BATCH):
                batch = places[start : start + self.BATCH]
                tokens = np.array([items[place].tokens for place in batch], np.int32)
                for place, count in zip(batch, self._generate(items[batch[0]], tokens), strict=True):
                    counts[place] = count
        return counts

    def _generate(self, item: Item, tokens: Any) -> list[int]:
        parameters = self._genai.GeneratorParams(self._model)
        length, limit = tokens.shape[1], tokens.shape[1] + item.new_tokens
        # Forced tokens overrun its cache near the limit: with a schema it gets more room, and is stopped by us.
        room = 0 if item.schema is None else 64
        parameters.set_search_options(max_length=limit + room, do_sample=False, batch_size=len(tokens))
        if item.schema is not None:
            parameters.set_guidance("json_schema", self.schema(item), True)  # with forced tokens taken at once
        generator = self._genai.Generator(self._model, parameters)
        generator.append_tokens(tokens if len(tokens) > 1 else tokens[0])
        while not generator.is_done() and generator.token_count() < limit:
            generator.generate_next_token()
        outputs = [list(generator.get_sequence(row)[length:limit]) for row in range(len(tokens))]
        return [next((n for n, token in enumerate(o) if token in self._eos), len(o)) for o in outputs]


class GenaiEngine(_Genai):
    """`og.Engine`: static batches, each request with its own schema."""

    def run(self, items: Sequence[Item]) -> list[int]:
        import numpy as np

        genai = self._genai
        engine = genai.Engine(self._model)
        events = engine.create_event_buffer(256)
        places: dict[Any, int] = {}
        for place, item in enumerate(items):
            options = genai.RequestOptions()
            options.set_max_session_tokens(len(item.tokens) + item.new_tokens)
            request = engine.create_request(options=options)
            turn = genai.TurnOptions(request)
            turn.set_do_sample(False)
            if item.schema is not None:
                turn.set_guidance("json_schema", self.schema(item))
            request.begin_turn(np.array(item.tokens, np.int32), turn)
            places[request] = place
        counts = [0] * len(items)
        while engine.has_pending_requests():
            for event in engine.run(events):
                if event.flags.value & genai.EngineEventFlags.TOKEN.value and event.token not in self._eos:
                    counts[places[event.request]] += 1
        for request in places:
            request.close()
        return counts


class SmallBatchGenaiEngine(GenaiEngine):
    """The same with the batch size that a model folder has by default."""

    def __init__(self, model: Path, threads: int) -> None:
        super().__init__(model, threads, batch=4)


CONTENDERS: dict[str, type[Contender] | Any] = {
    "orbit": Orbit,
    "orbit, no lookup": PlainOrbit,
    "genai Generator": GenaiGenerator,
    "genai Engine": GenaiEngine,
    "genai Engine, batch 4": SmallBatchGenaiEngine,
}


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time that these processes have burnt so far."""
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def serve(contender: Contender) -> None:
    """Answers loads until stdin ends."""
    for line in sys.stdin:
        rounds = [
            [Item(i["text"], tuple(i["tokens"]), i["new_tokens"], i["schema"]) for i in r] for r in json.loads(line)
        ]
        processes = contender.processes()
        cpu, wall = cpu_seconds(processes), time.perf_counter()
        tokens = sum(sum(contender.run(items)) for items in rounds)
        answer = {
            "tokens": tokens,
            "cpu_s": cpu_seconds(processes) - cpu,
            "wall_s": time.perf_counter() - wall,
            "memory_bytes": contender.memory_bytes(),
        }
        print(json.dumps(answer), flush=True)


def main() -> None:
    """The process's entry point."""
    name, model, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    contender = CONTENDERS[name](model, threads)
    print(json.dumps({"ready": True}), flush=True)
    try:
        serve(contender)
    finally:
        contender.close()


if __name__ == "__main__":
    main()
