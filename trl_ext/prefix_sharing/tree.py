"""Tokens as a prefix tree: sequences packed so that what they share is computed once.

The four sequences of a row show one picture and share most of a prompt; the rows of one picture
share the picture. Packed, each distinct prefix appears once, followed by its branches:

    sequences            packed columns, depth first            subtree_end
    P P P a b C C        P P P a b C C D D z E                  11 11 11 9 9 7 7 9 9 11 11
    P P P a b D D    ->  0 1 2 3 4 5 6 7 8 9 10
    P P P z E            0 1 2 3 4 5 6 5 6 3 4 (positions)      q sees k: k <= q < subtree_end[k]

A token sees only its own path, and its position is its place along that path, so that every number
equals that of the separate sequences; only the order of sums differs. `packing` lays trees out
for a model; `docs/prefix_tree.md` has the lower bound and the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class PrefixTree:
    """The places of the tokens of a set of sequences when each distinct prefix appears once.

    Columns are in depth-first order: parents before children, a subtree without gaps. Tensors are
    long and on the CPU.

    Attributes:
        sequence: Index of a sequence that runs through each column; `(columns,)`.
        depth: Place of each column along that sequence; `(columns,)`.
        subtree_end: One past the last column below each column, so that column q is column k or
            descends from it exactly if `k <= q < subtree_end[k]`; `(columns,)`.
        paths: For each sequence the columns of its tokens, in order.
    """

    sequence: Tensor
    depth: Tensor
    subtree_end: Tensor
    paths: list[Tensor]

    def __len__(self) -> int:
        return len(self.depth)


Array = npt.NDArray[np.int64]


def build_tree(sequences: Sequence[Sequence[int] | Tensor | np.ndarray]) -> PrefixTree:
    """Build the tree of `sequences`, which are lists or tensors of token ids.

    In sorted order each sequence adds what it does not share with the one before it; the columns
    that it leaves behind can have no further descendants.
    """
    arrays = [np.asarray(each, dtype=np.int64) for each in sequences]
    # Any order that keeps equal prefixes together is enough; that of the bytes is the fastest.
    order = sorted(range(len(arrays)), key=lambda index: arrays[index].tobytes())
    depths: list[Array] = []
    owners: list[Array] = []
    paths: list[Array] = [np.empty(0, np.int64) for _ in arrays]
    end = np.zeros(sum(map(len, arrays)), np.int64)
    path = previous = np.empty(0, np.int64)
    columns = 0
    for index in order:
        tokens = arrays[index]
        shared = _common_prefix(previous, tokens)
        added = len(tokens) - shared
        end[path[shared:]] = columns
        path = np.concatenate([path[:shared], np.arange(columns, columns + added)])
        depths.append(np.arange(shared, len(tokens)))
        owners.append(np.full(added, index))
        columns += added
        paths[index] = path
        previous = tokens
    end[path] = columns
    return PrefixTree(
        torch.from_numpy(np.concatenate(owners)),
        torch.from_numpy(np.concatenate(depths)),
        torch.from_numpy(end[:columns]),
        [torch.from_numpy(each) for each in paths],
    )


def _common_prefix(a: Array, b: Array) -> int:
    length = min(len(a), len(b))
    differ = a[:length] != b[:length]
    return int(differ.argmax()) if differ.any() else length
