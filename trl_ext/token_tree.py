"""Tokens as a prefix tree: sequences packed so that what they share is computed once.

The four sequences of a row look at one picture and share most of a prompt; the rows of one
picture share the picture. Packed, each distinct prefix stands once, its branches behind it:

    sequences            packed columns, depth first            subtree_end
    P P P a b C C        P P P a b C C D D z E                  11 11 11 9 9 7 7 9 9 11 11
    P P P a b D D    ->  0 1 2 3 4 5 6 7 8 9 10
    P P P z E            0 1 2 3 4 5 6 5 6 3 4 (positions)      q sees k: k <= q < subtree_end[k]

A token sees its own path and nothing else, at its place along that path, so that every number
equals that of the separate sequences; only the order of sums differs. `trl_ext.packed_batch` lays
trees out for a model, `docs/prefix_tree.md` has the floor and the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SharingUnsupportedError(ValueError):
    """These sequences, or this model, cannot share prefixes; the message says why."""


@dataclass(frozen=True)
class PrefixTree:
    """Where the tokens of a set of sequences stand when each distinct prefix stands once.

    Columns are in depth-first order: parents before children, a subtree without gaps.

    Attributes:
        sequence: for each column a sequence that runs through it; `(columns,)`.
        depth: its place along that sequence; `(columns,)`.
        subtree_end: one past the last column below it, so that column q descends from column k,
            or is it, exactly if `k <= q < subtree_end[k]`; `(columns,)`.
        paths: for each sequence the columns of its tokens, in order.
    """

    sequence: list[int]
    depth: list[int]
    subtree_end: list[int]
    paths: list[list[int]]

    def __len__(self) -> int:
        return len(self.depth)


def build_tree(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of `sequences`.

    In sorted order each sequence adds what it does not share with the one before it; the columns
    that it leaves behind can have no further descendants.
    """
    tree = PrefixTree([], [], [], [[] for _ in sequences])
    path: list[int] = []
    previous: Sequence[int] = ()
    for index in sorted(range(len(sequences)), key=lambda index: list(sequences[index])):
        tokens = sequences[index]
        shared = _common_prefix(previous, tokens)
        for column in path[shared:]:
            tree.subtree_end[column] = len(tree)
        added = len(tokens) - shared
        path = path[:shared] + list(range(len(tree), len(tree) + added))
        tree.sequence.extend([index] * added)
        tree.subtree_end.extend([0] * added)  # filled when the column is left behind
        tree.depth.extend(range(shared, len(tokens)))
        tree.paths[index] = path
        previous = tokens
    for column in path:
        tree.subtree_end[column] = len(tree)
    return tree


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))
