"""Attention over packed prefix trees: a dense mask for any device, block masks for GPUs.

Column q sees column k where `k <= q < subtree_end[k]`. Dense, that is a boolean mask for
`scaled_dot_product_attention`. FlexAttention skips whole blocks that nothing sees, more than half
of them in a tree; its block mask follows from minima and maxima of `subtree_end` without the
quadratic mask ever being built.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from trl_ext.prefix_sharing.errors import SharingUnsupportedError
from trl_ext.prefix_sharing.inner_model import (
    floating_dtype,
    layer_kinds,
    text_config,
    window,
)
from trl_ext.prefix_sharing.packing import PackedBatch

NAME = "prefix_tree"
"""Name under which the attention is registered with transformers."""

BLOCK = 128
"""Columns per FlexAttention block; packed lines are padded to a multiple."""

KERNEL_OPTIONS = {"IS_DIVISIBLE": True}
"""Lines consist of whole blocks. With dynamic shapes the compiler cannot know that, and would guard
every load. (`ROWS_GUARANTEED_SAFE` would be wrong: a query block may hold two trees.)"""


def dense_mask(
    subtree_end: Tensor,
    *,
    seen_together: Tensor | None = None,
    depth: Tensor | None = None,
    window: int | None = None,
) -> Tensor:
    """Return the mask, True where a query sees a key: `(lines, 1, columns, columns)`.

    Args:
        subtree_end: `(lines, columns)`.
        seen_together: Number of the picture that a column belongs to, -1 for text: columns of a
            picture see each other in both directions (Gemma 3); `(lines, columns)`.
        depth: Place of each column along its path, `(lines, columns)`; required for a window.
        window: Width of a sliding window, along the path.
    """
    column = torch.arange(subtree_end.shape[-1], device=subtree_end.device)
    query, key = column[:, None], column[None, :]
    mask = (key <= query) & (query < subtree_end[:, None, :])
    if seen_together is not None:
        number = seen_together
        mask = mask | ((number[:, :, None] == number[:, None, :]) & (number[:, None, :] >= 0))
    if window is not None:
        if depth is None:
            raise ValueError("a window is measured along the path: give the depth of the columns")
        mask = mask & (depth[:, None, :] > depth[:, :, None] - window)
    return mask[:, None]


def block_mask(subtree_end: Tensor) -> Any:
    """Return FlexAttention's `BlockMask` of one line: `subtree_end` is `(1, columns)`, columns a
    multiple of `BLOCK`.

    For query block i > key block j every key precedes every query. The block is not empty if some
    key's subtree reaches past the first query, and full if every key's subtree reaches past the
    last. Diagonal blocks are always partial.
    """
    from torch.nn.attention.flex_attention import BlockMask

    end = subtree_end[0].to(torch.int32).contiguous()
    blocks = end.view(-1, BLOCK)
    number = torch.arange(len(blocks), device=end.device)
    below = number[:, None] > number[None, :]
    some = below & (blocks.amax(1)[None, :] > number[:, None] * BLOCK)
    full = below & (blocks.amin(1)[None, :] >= (number[:, None] + 1) * BLOCK)
    partial = (some & ~full) | (number[:, None] == number[None, :])

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < end[key])

    return BlockMask.from_kv_blocks(
        *_listed(partial), *_listed(full), BLOCK_SIZE=BLOCK, mask_mod=sees
    )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of key blocks of each query block, and all key blocks, those first."""
    order = torch.argsort(blocks.to(torch.int8), dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], order.to(torch.int32)[None, None]


def tree_mask(model: nn.Module, batch: PackedBatch) -> Any:
    """Return the `attention_mask` for `model`: a mask, or a dict of masks by kind of layer."""
    if batch.one_line:
        return block_mask(batch.subtree_end)
    together = None
    if text_config(model).model_type == "gemma3_text" and "token_type_ids" in batch.inputs:
        together = _numbered_runs(batch.inputs["token_type_ids"] == 1)
    masks = {
        kind: dense_mask(
            batch.subtree_end,
            seen_together=together,
            depth=batch.depth,
            window=window(model) if kind == "sliding_attention" else None,
        )
        for kind in layer_kinds(model)
    }
    by_kind = bool(getattr(text_config(model), "layer_types", None)) and len(masks) > 1
    return masks if by_kind else next(iter(masks.values()))


def _numbered_runs(inside: Tensor) -> Tensor:
    """Number each run of True within its line; -1 elsewhere."""
    before = nn.functional.pad(inside, (1, 0))[:, :-1]
    return torch.where(inside, (inside & ~before).cumsum(1) - 1, -1)


def choose_attention(model: nn.Module, longest: int = 0) -> str:
    """Return `"flex"` on a GPU with Triton, without windows and two-way pictures; else `"dense"`.

    Args:
        model: Asked for its kinds of layers.
        longest: Tokens of the longest sequence: a window that holds it has no effect.
    """
    config, width = text_config(model), window(model)
    plain = layer_kinds(model) == {"full_attention"} or (
        not getattr(config, "layer_types", None) and width is not None and longest <= width
    )
    usual = floating_dtype(model) in (torch.bfloat16, torch.float16, torch.float32)
    on_gpu = next(model.parameters()).is_cuda and find_spec("triton") is not None
    dropout = bool(getattr(config, "attention_dropout", 0))
    return "flex" if on_gpu and usual and plain and not dropout else "dense"


def use_tree_attention(model: nn.Module) -> None:
    """Let the text layers of `model` take tree masks, from now on.

    The change stays: gradient checkpointing runs layers again during the backward pass, outside
    any context. Plain batches then go through `scaled_dot_product_attention`, as by default.
    """
    _register()
    config = text_config(model)
    if config._attn_implementation != NAME:
        config._attn_implementation = NAME


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    **options: Any,
) -> tuple[Tensor, None]:
    """Implement transformers' attention interface: heads `(batch, heads, columns, head size)` in,
    `(batch, columns, heads, head size)` out."""
    if attention_mask is None or isinstance(attention_mask, Tensor):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        by_mask = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return by_mask[0], None
    if options.get("dropout"):
        raise SharingUnsupportedError("FlexAttention has no dropout: set attention_dropout to 0")
    if options.get("softcap") is not None:
        raise SharingUnsupportedError("tree attention does not cap its scores")
    output: Tensor = _flex_attention(
        query,
        key,
        value,
        block_mask=attention_mask,
        scale=options.get("scaling"),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2).contiguous(), None


def _flex_attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
    """Call FlexAttention, compiled here or with the layer around it: only then it is a kernel."""
    from torch.nn.attention.flex_attention import flex_attention

    compiled = torch.compiler.is_compiling()
    attend: Any = flex_attention if compiled else _compiled_flex_attention()
    return attend(query, key, value, kernel_options=KERNEL_OPTIONS, **options)


@cache
def _compiled_flex_attention() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
