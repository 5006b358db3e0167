"""The decoder that is trained: Llama's architecture, written for speed on few cores.

Its weights map one to one onto `transformers`' `LlamaForCausalLM` (see `export`); nothing about data lives here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """The model's size."""

    vocab: int
    width: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 2
    hidden: int = 512
    context: int = 1024
    rope_theta: float = 500_000.0  # slow rotations: names are looked up hundreds of tokens away
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Shape:
        return cls(**json.loads(path.read_text()))


class RMSNorm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.epsilon)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions in Llama's half-split form; `x` is batch × heads × time × head width."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


@dataclass(frozen=True, slots=True)
class Turn:
    """What every block needs of positions: rotations (time × head width) and what may be seen (time × time)."""

    cos: Tensor
    sin: Tensor
    allowed: Tensor  # 0 where a position (row) may look at another (column), minus infinity elsewhere


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.kv_heads * shape.head_width
        self.input_norm = RMSNorm(shape.width, shape.norm_epsilon)
        self.q = nn.Linear(shape.width, shape.width, bias=False)
        self.k = nn.Linear(shape.width, kv_width, bias=False)
        self.v = nn.Linear(shape.width, kv_width, bias=False)
        self.o = nn.Linear(shape.width, shape.width, bias=False)
        self.mlp_norm = RMSNorm(shape.width, shape.norm_epsilon)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, turn: Turn, wanted: Tensor | None = None) -> Tensor:
        """`wanted` (batch × some positions): give the result at these positions only, at a fraction of the work."""
        h = self.input_norm(x)
        k = self._heads(self.k(h), self.shape.kv_heads)
        v = self._heads(self.v(h), self.shape.kv_heads)
        k = rotate(k, turn.cos, turn.sin)
        cos, sin, allowed = turn.cos, turn.sin, turn.allowed
        if wanted is not None:
            index = wanted.unsqueeze(-1).expand(-1, -1, x.shape[-1])
            x, h = x.gather(1, index), h.gather(1, index)
            cos, sin = cos[wanted].unsqueeze(1), sin[wanted].unsqueeze(1)
            allowed = allowed[wanted][:, None, None]
        q = rotate(self._heads(self.q(h), self.shape.heads), cos, sin)
        x = x + self.o(self._attend(q, k, v, allowed))
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        batch, time, _ = x.shape
        return x.view(batch, time, heads, self.shape.head_width).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
        """Causal attention; the heads that share keys are folded into time, so that one product serves a group.

        PyTorch's fused attention takes twice the time of this on a CPU at these sizes.
        """
        batch, heads, time, width = q.shape
        kv_heads, groups = k.shape[1], heads // k.shape[1]
        q = q.reshape(batch, kv_heads, groups * time, width) * width**-0.5
        scores = (q @ k.transpose(-1, -2)).view(batch, kv_heads, groups, time, k.shape[2])
        weights = (scores + allowed.to(scores.dtype)).softmax(-1, dtype=scores.dtype)
        y = weights.view(batch, kv_heads, groups * time, k.shape[2]) @ v
        return y.view(batch, heads, time, width).transpose(1, 2).reshape(batch, time, heads * width)


class Decoder(nn.Module):
    """Token ids (batch × time) to logits (batch × time × vocabulary); the output shares the embedding's weights."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width, shape.norm_epsilon)
        steps = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
        angles = torch.outer(torch.arange(shape.context, dtype=torch.float32), shape.rope_theta**-steps)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.embedding.weight, std=0.02)
        for name, weight in self.named_parameters():
            if name.endswith(("o.weight", "down.weight")):
                nn.init.zeros_(weight)  # each block begins as the identity
            elif weight.dim() == 2 and "embedding" not in name:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)

    def forward(self, ids: Tensor, wanted: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Logits at every position, or at the `wanted` ones (batch × some) only."""
        time = ids.shape[1]
        allowed = torch.full((time, time), float("-inf"), dtype=dtype, device=ids.device).triu(1)
        turn = Turn(self.cos[:time].to(dtype), self.sin[:time].to(dtype), allowed)
        x = self.embedding(ids).to(dtype)
        for block in self.blocks[:-1]:
            x = block(x, turn)
        x = self.norm(self.blocks[-1](x, turn, wanted))
        return F.linear(x, self.embedding.weight.to(dtype))
