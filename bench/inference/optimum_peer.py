"""optimum's `generate` as a contender; run by the Python of an environment that has `optimum-onnx` and torch.

The same lines in and out as `bench.inference.contenders`, without importing anything of Orbit's. Schemas are beyond it.
"""

import json
import os
import resource
import sys
import time
import warnings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
warnings.filterwarnings("ignore")

BATCH = 64


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(model, items) -> int:
    """Answers equal prompts in batches; how many tokens were made."""
    import torch

    tokens = 0
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        ids = torch.tensor([item["tokens"] for item in batch])
        new = batch[0]["new_tokens"]
        output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)
        eos = model.config.eos_token_id
        for row in output[:, ids.shape[1] :].tolist():
            tokens += row.index(eos) if eos in row else len(row)
    return tokens


def main() -> None:
    """The process's entry point."""
    import onnxruntime
    import torch
    from optimum.onnxruntime import ORTModelForCausalLM

    checkpoint, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    os.nice(10)  # as the model server's processes do
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = ORTModelForCausalLM.from_pretrained(checkpoint, export=True, session_options=options)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        rounds = json.loads(line)
        cpu, wall = cpu_seconds(), time.perf_counter()
        tokens = sum(run(model, items) for items in rounds)
        answer = {
            "tokens": tokens,
            "cpu_s": cpu_seconds() - cpu,
            "wall_s": time.perf_counter() - wall,
            "memory_bytes": resident_bytes(),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
