"""Time attention over a packed tree on a GPU: a dense mask and FlexAttention's block mask.

python benchmarks/tree_attention.py
"""

from __future__ import annotations

import logging
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.train_step import timed
from benchmarks.workload import SIZES, Case, build_rows
from trl_ext.prefix_sharing.attention import BLOCK, KERNEL_OPTIONS, block_mask, dense_mask
from trl_ext.prefix_sharing.tree import build_tree

logger = logging.getLogger("tree_attention")


def main() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    device, size = torch.device("cuda"), SIZES["7b"]
    rows = build_rows(size, Case(), "image")
    tree = build_tree([ids[:-1] for ids in rows.input_ids])
    width = len(tree) + -len(tree) % BLOCK
    end = torch.cat([tree.subtree_end, torch.arange(len(tree) + 1, width + 1)])[None].to(device)
    pairs = int((tree.depth + 1).sum())
    head = size.width // size.heads
    blocks = block_mask(end)
    dense = dense_mask(end)

    def draw(heads: int) -> Tensor:
        return torch.randn(
            1, heads, width, head, device=device, dtype=torch.bfloat16
        ).requires_grad_()

    query, key, value = draw(size.heads), draw(size.key_value_heads), draw(size.key_value_heads)
    gradient = torch.randn_like(query)
    repeat = size.heads // size.key_value_heads

    def with_dense_mask(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        keys, values = (each.repeat_interleave(repeat, 1) for each in (key, value))
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=dense)

    def with_blocks(dynamic: bool | None, **options: bool) -> Any:
        torch._dynamo.reset()
        compiled = torch.compile(flex_attention, dynamic=dynamic)
        return lambda q, k, v: compiled(
            q, k, v, block_mask=blocks, enable_gqa=True, kernel_options=options or None
        )

    flops = 4.0 * pairs * size.width
    exact: list[Tensor] = []
    for name, attention in [
        ("dense mask, SDPA", lambda: with_dense_mask),
        ("FlexAttention, fixed shapes", lambda: with_blocks(False)),
        ("FlexAttention, dynamic shapes", lambda: with_blocks(True)),
        ("the same, divisible", lambda: with_blocks(True, **KERNEL_OPTIONS)),
    ]:
        run = attention()

        def forward() -> None:
            with torch.no_grad():
                run(query, key, value)  # noqa: B023

        def both() -> None:
            query.grad = key.grad = value.grad = None
            run(query, key, value).backward(gradient)  # noqa: B023

        once, first = timed(forward, 20, device)
        twice, first_backward = timed(both, 20, device)
        output = run(query, key, value).detach().float()
        gradients = [each.grad.float() for each in (query, key, value) if each.grad is not None]
        found = [output[:, :, : len(tree)], *gradients]
        exact = exact or found
        errors = [((a - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)]
        ahead, all_of_it = statistics.median(once), statistics.median(twice)
        logger.info(
            "%-30s forward %.3f ms (%.0f TFLOP/s of attended pairs), with backward %.3f ms "
            "(%.0f TFLOP/s); first calls %.0f s; distance from dense %s",
            name,
            ahead * 1e3,
            flops / ahead / 1e12,
            all_of_it * 1e3,
            3.5 * flops / all_of_it / 1e12,
            first + first_backward,
            ", ".join(f"{error:.1e}" for error in errors),
        )
    lengths(device, head, size.heads, size.key_value_heads)


def lengths(device: torch.device, head: int, heads: int, key_value_heads: int) -> None:
    """Time the first call for batches of different lengths, which shows recompilation."""
    from torch.nn.attention.flex_attention import flex_attention

    torch._dynamo.reset()
    compiled = torch.compile(flex_attention)

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Any) -> Tensor:
        output: Tensor = compiled(
            query, key, value, block_mask=mask, enable_gqa=True, kernel_options=KERNEL_OPTIONS
        )
        return output

    seconds = []
    for blocks in (20, 33, 26, 41, 17, 52, 29, 38, 64, 45, 23, 58):
        width = blocks * BLOCK
        end = torch.full((1, width), width, device=device)
        query, key, value = (
            torch.randn(1, n, width, head, device=device, dtype=torch.bfloat16).requires_grad_()
            for n in (heads, key_value_heads, key_value_heads)
        )
        mask = block_mask(end)
        run = attend(query, key, value, mask)
        plain = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        error = ((run - plain).norm() / plain.norm()).item()
        _, first = timed(
            lambda: (
                attend(query, key, value, mask)  # noqa: B023
                .sum()
                .backward()
            ),
            1,
            device,
        )
        seconds.append((width, round(first, 2), f"{error:.1e}"))
    logger.info("twelve lengths, seconds of the first forward and backward, error: %s", seconds)


if __name__ == "__main__":
    main()
