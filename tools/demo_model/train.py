"""Train the demonstration model.

`python -m tools.demo_model.train --out DIR [--steps N] [--minutes M] [--threads T] [--device cpu|cuda]`

Writes `shape.json`, `tokenizer.json` and `weights.pt`, and a checkpoint now and then: running the same command again
goes on from it. The learning rate follows the number of steps; `--minutes` only ends this sitting early.
The optimiser is Muon (Jordan 2024) for the blocks' matrices and AdamW for the rest.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from tools.demo_model.data import IGNORED, Batch, Samples, collate, encode
from tools.demo_model.model import Decoder, Shape
from tools.demo_model.prompts import INSTRUCTION
from tools.demo_model.start import prepare_to_copy
from tools.demo_model.tokenizer import train_tokenizer
from tui.demo.reports import HELD_OUT, make_reports

SEED = 20_260
PROMPT_LOSS_WEIGHT = 0.2  # at the beginning, predicting the report itself teaches to look back
PROMPT_LOSS_STEPS = 200
EASY_STEPS = 200  # short reports at the beginning: copying is learnt there
WARM_UP_STEPS = 50
MUON_RATE, ADAM_RATE = 0.02, 3e-3
DECAY_SHARE = 0.6  # of all steps, at the end: the learning rate falls linearly to nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """What one training run is told."""

    out: Path
    steps: int
    batch: int
    minutes: float
    device: str
    report_every: int


def learning_rate_share(step: int, steps: int) -> float:
    """The share of the full learning rate at one step."""
    remaining = (steps - step) / (steps * DECAY_SHARE)
    return min(1.0, (step + 1) / WARM_UP_STEPS, remaining)


def loss_of(model: Decoder, batch: Batch, device: str, *, with_prompt: bool) -> tuple[Tensor, float]:
    """The training loss, and the part of it that is the answer's."""
    ids = torch.from_numpy(batch.ids).to(device)
    answer_at = torch.from_numpy(batch.answer_at).to(device)
    answer_targets = torch.from_numpy(batch.answer_targets).to(device)
    with torch.autocast(device, torch.bfloat16):
        logits = model(ids, None if with_prompt else answer_at, torch.bfloat16)
    if not with_prompt:
        loss = F.cross_entropy(logits.float().flatten(0, 1), answer_targets.flatten(), ignore_index=IGNORED)
        return loss, loss.item()
    targets = torch.from_numpy(batch.targets).to(device)
    everywhere = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    answer_logits = logits.gather(1, answer_at.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))
    loss = F.cross_entropy(answer_logits.float().flatten(0, 1), answer_targets.flatten(), ignore_index=IGNORED)
    return loss + PROMPT_LOSS_WEIGHT * everywhere, loss.item()


def optimisers(model: Decoder) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the norms."""
    matrices = [p for name, p in model.named_parameters() if p.dim() == 2 and name.startswith("blocks.")]
    others = [p for name, p in model.named_parameters() if p.dim() != 2 or not name.startswith("blocks.")]
    muon = torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01, momentum=0.95)
    return [muon, torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)]


@torch.no_grad()
def held_out_accuracy(model: Decoder, batches: list[Batch], device: str) -> tuple[float, float]:
    """(share of answer tokens, share of whole answers) right on unseen reports, each token after the right ones."""
    tokens = right = answers = whole = 0
    for batch in batches:
        ids, answer_at = (torch.from_numpy(part).to(device) for part in (batch.ids, batch.answer_at))
        with torch.autocast(device, torch.bfloat16):
            best = model(ids, answer_at, torch.bfloat16).argmax(-1).cpu().numpy()
        counted = batch.answer_targets != IGNORED
        hits = (best == batch.answer_targets) & counted
        tokens += int(counted.sum())
        right += int(hits.sum())
        answers += len(batch.ids)
        whole += int((hits.sum(1) == counted.sum(1)).sum())
    return right / tokens, whole / answers


def held_out_batches(tokenizer: Tokenizer, count: int = 48) -> list[Batch]:
    """Unseen reports, asked for in the example's words."""
    reports = make_reports(count, seed=SEED, split=HELD_OUT)
    samples = [encode(tokenizer, INSTRUCTION, report.text, report.answer) for report in reports]
    samples.sort(key=lambda sample: len(sample[0]))
    return [collate(samples[start : start + 16]) for start in range(0, count, 16)]


def train(plan: Plan, shape: Shape, tokenizer: Tokenizer) -> None:
    torch.manual_seed(SEED)
    model = Decoder(shape)
    prepare_to_copy(model)
    model.to(plan.device)
    optims = optimisers(model)
    full_rates = [group["lr"] for optim in optims for group in optim.param_groups]
    checkpoint = plan.out / "checkpoint.pt"
    step = _resume(checkpoint, model, optims) if checkpoint.exists() else 0
    stream = Samples(tokenizer, SEED).batches(plan.batch, EASY_STEPS * plan.batch, first=step * plan.batch)
    unseen = held_out_batches(tokenizer)
    begun, seen_tokens, mean = time.monotonic(), 0, 0.0
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {step} of {plan.steps}", flush=True)
    while step < plan.steps and time.monotonic() - begun < plan.minutes * 60:
        batch = next(stream)
        share = learning_rate_share(step, plan.steps)
        for group, rate in zip((g for optim in optims for g in optim.param_groups), full_rates, strict=True):
            group["lr"] = rate * share
        loss, answer_loss = loss_of(model, batch, plan.device, with_prompt=step < PROMPT_LOSS_STEPS)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            optim.step()
            optim.zero_grad(set_to_none=True)
        step += 1
        seen_tokens += batch.ids.size
        mean += answer_loss / plan.report_every
        if step % plan.report_every == 0:
            accuracy, whole = held_out_accuracy(model, unseen, plan.device)
            seconds = time.monotonic() - begun
            print(
                f"step {step} {seconds:.0f}s {seen_tokens / seconds:,.0f} tokens/s loss {mean:.3f} "
                f"held out: tokens {accuracy:.3f} answers {whole:.3f}",
                flush=True,
            )
            mean = 0.0
            _save(checkpoint, model, optims, step)
    _save(checkpoint, model, optims, step)
    torch.save(model.state_dict(), plan.out / "weights.pt")


def _save(path: Path, model: Decoder, optims: list[torch.optim.Optimizer], step: int) -> None:
    fresh = path.with_suffix(".new")
    state = {"step": step, "model": model.state_dict(), "optimisers": [optim.state_dict() for optim in optims]}
    torch.save(state, fresh)
    fresh.replace(path)


def _resume(path: Path, model: Decoder, optims: list[torch.optim.Optimizer]) -> int:
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optim, saved in zip(optims, state["optimisers"], strict=True):
        optim.load_state_dict(saved)
    return int(state["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch chooses")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--report-every", type=int, default=50)
    parser.add_argument("--shape", type=json.loads, default={}, help="fields of Shape as JSON, to try another size")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    np.seterr(all="raise")
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer_file = args.out / "tokenizer.json"
    if not tokenizer_file.exists():
        train_tokenizer().save(str(tokenizer_file))
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    shape = Shape(vocab=tokenizer.get_vocab_size(), **args.shape)
    shape.save(args.out / "shape.json")
    plan = Plan(args.out, args.steps, args.batch, args.minutes, args.device, args.report_every)
    train(plan, shape, tokenizer)


if __name__ == "__main__":
    main()
