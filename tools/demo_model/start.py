"""Where training begins: weights that can already copy, a little.

An answer is copied from the report, token by token. The circuit for that (a head that looks one token back, and a
head that finds where the present token stood before and takes what came after: an "induction head", Olsson et al.
2022) takes a decoder longest to find. Setting a few heads up for it before training (compare "mimetic
initialisation", Trockman and Kolter 2023) saves most of that time; training is free to change every weight.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tools.demo_model.model import Decoder

EMBEDDING_STD = 0.1
LOOK_BACK = 6.0  # sharpness of the heads that look a fixed number of tokens back
SKETCH_GAIN = 0.3  # how strongly such a head writes what it saw
MATCH = 10.0  # attention logits of a whole match
COPY = 8.0  # how strongly what was found is written down


@torch.no_grad()
def prepare_to_copy(model: Decoder) -> None:
    """Set up the embedding and some heads of the first two layers; every other weight stays as it is."""
    shape = model.shape
    generator = torch.Generator().manual_seed(1)
    width, size = shape.width, shape.head_width

    # One direction of the stream is the same for every token: queries and keys that depend on position alone.
    constant = EMBEDDING_STD * math.sqrt(width) / 2
    model.embedding.weight.normal_(0, EMBEDDING_STD, generator=generator)
    model.embedding.weight[:, 0] = constant
    scale = 1 / math.sqrt(EMBEDDING_STD**2 + constant**2 / width)

    # The stream is divided among what is read and written, so that nothing disturbs anything else.
    first, second = model.blocks[0], model.blocks[1]
    groups = shape.heads // shape.kv_heads
    basis = torch.linalg.qr(torch.randn(width - 1, width - 1, generator=generator)).Q
    basis = torch.cat((torch.zeros(width - 1, 1), basis), dim=1)  # the constant direction belongs to none
    sketch, *written = basis[: (1 + groups) * size].split(size)
    free = basis[groups * size + size :]

    # First layer, first group of heads: look 1, 2, 3 … tokens back, and write down a sketch of what stood there.
    sharp = LOOK_BACK / (constant * scale)
    first.v.weight[:size] = sketch
    first.k.weight[:size] = _position_only(shape.rope_theta, size, width, 0) * sharp
    for head in range(groups):
        rows = slice(head * size, (head + 1) * size)
        first.q.weight[rows] = _position_only(shape.rope_theta, size, width, head + 1) * sharp
        first.o.weight[:, rows] = written[head].T * SKETCH_GAIN

    # Second layer: two heads find an earlier place whose last one or two tokens are the present ones, and copy.
    slow = torch.cat((torch.arange(size // 4, size // 2), torch.arange(3 * size // 4, size)))  # hardly rotated
    half = len(slow) // 2
    one_token = (sketch[: 2 * half], written[0][: 2 * half])
    two_tokens = (torch.cat((sketch[:half], written[0][:half])), torch.cat((written[0][:half], written[1][:half])))
    for kv_head, (query, key) in enumerate((one_token, two_tokens)[: shape.kv_heads]):
        head = kv_head * groups
        _match(second.q.weight, head, query, slow, size)
        _match(second.k.weight, kv_head, key, slow, size)
        copied = torch.cat((free, sketch))[torch.randperm(len(free) + size, generator=generator)[:size]]
        second.v.weight[kv_head * size : (kv_head + 1) * size] = copied
        second.o.weight[:, head * size : (head + 1) * size] = copied.T * COPY * EMBEDDING_STD


def _position_only(theta: float, size: int, width: int, back: int) -> Tensor:
    """Rows of a query (or, with `back` 0, a key) that reads the constant direction: it peaks `back` tokens earlier."""
    fast = size // 8  # the frequencies that tell neighbours apart
    angles = back * theta ** (-torch.arange(fast) * 2 / size)
    rows = torch.zeros(size, width)
    rows[:fast, 0] = angles.cos()
    rows[size // 2 : size // 2 + fast, 0] = -angles.sin()
    return rows


def _match(weight: Tensor, head: int, rows: Tensor, slow: Tensor, size: int) -> None:
    """Put `rows` on the slow dimensions of one head, scaled so that a whole match gives about MATCH."""
    weight[head * size : (head + 1) * size] = 0
    weight[head * size + slow] = rows * math.sqrt(MATCH * math.sqrt(size) / len(slow))
