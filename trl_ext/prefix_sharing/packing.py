"""A batch of prefix trees as a model takes it, and the way back to the batch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trl_ext.prefix_sharing.inner_model import picture_tokens
from trl_ext.prefix_sharing.token_batch import TokenBatch, send
from trl_ext.prefix_sharing.tree import PrefixTree, build_tree


@dataclass(frozen=True)
class PackedBatch:
    """Trees in `lines`, the model's batch dimension: one tree each, or all in one line.

    Attributes:
        inputs: `input_ids` and the family's further per-token inputs, `(lines, columns)`;
            `position_ids`, `(lines, columns)`, or `(3, lines, columns)` for the Qwen family.
        depth: Place of each column along its path, `(lines, columns)`.
        subtree_end: As in `PrefixTree`, within the line; a padding column sees only itself.
        places: Column that predicts each completion token, in the flattened `(lines * columns,)`,
            one sequence after another; `(completion tokens,)`.
        labels: The completion tokens; `(completion tokens,)`.
        owner: Index of the sequence of each completion token; `(completion tokens,)`.
        pictures: Indices in `TokenBatch.vision`, in the order in which the lines hold them.
        tokens: Number of columns that are not padding.
        one_line: Whether all trees are in one line, as FlexAttention needs them.
    """

    inputs: dict[str, Tensor]
    depth: Tensor
    subtree_end: Tensor
    places: Tensor
    labels: Tensor
    owner: Tensor
    pictures: list[int]
    tokens: int
    one_line: bool


@dataclass(frozen=True)
class _Piece:
    """A tree: its pictures and sequences, and its place among the lines."""

    picture: int
    tree: PrefixTree
    members: list[int]
    line: int
    column: int


def pack(
    model: nn.Module, batch: TokenBatch, *, one_line: bool = False, multiple: int = 1
) -> PackedBatch:
    """Build a tree for each picture (and one for all sequences without), laid out for `model`.

    Sequences of one picture whose prompts differ before its end get a tree each, with the picture
    in each: what precedes a picture changes everything that is computed for it.

    Args:
        model: Provides rotary positions and picture tokens; it is not run.
        batch: The sequences to pack.
        one_line: Put all trees into one line, rather than each into its own.
        multiple: Lines are padded to a multiple of this number of columns.
    """
    lengths = [len(ids) for ids in batch.input_ids]
    flat = {
        name: torch.cat(values)
        for name, values in {"input_ids": batch.input_ids, **batch.token_inputs}.items()
    }
    tokens = batch.input_ids
    pieces = _pieces(batch, tokens, picture_tokens(model), one_line)
    number = pieces[-1].line + 1
    width = max(piece.column + len(piece.tree) for piece in pieces)
    width += -width % multiple

    def lay(values: Sequence[Tensor]) -> Tensor:
        lines: list[list[Tensor]] = [[] for _ in range(number)]
        for piece, value in zip(pieces, values, strict=True):
            lines[piece.line].append(value)
        joined = [torch.cat(line, -1) for line in lines]
        return torch.stack(
            [nn.functional.pad(line, (0, width - line.shape[-1])) for line in joined], -2
        )

    starts = torch.tensor([0, *lengths]).cumsum(0)
    depth = lay([piece.tree.depth for piece in pieces])
    first = lay([starts[piece.members][piece.tree.sequence] for piece in pieces])
    end = lay([piece.tree.subtree_end + piece.column for piece in pieces])
    positions = lay([_positions(model, batch, tokens, piece) for piece in pieces])
    source = first + depth
    places, owner = _predicting_places(batch, pieces, width)
    completions = zip(batch.input_ids, batch.prompt_lengths, strict=True)
    return PackedBatch(
        inputs={
            **{name: send(values[source], batch.device) for name, values in flat.items()},
            "position_ids": send(positions, batch.device),
        },
        depth=send(depth, batch.device),
        subtree_end=send(end.maximum(torch.arange(width) + 1), batch.device),
        places=send(places, batch.device),
        labels=send(torch.cat([ids[length:] for ids, length in completions]), batch.device),
        owner=send(owner, batch.device),
        pictures=[piece.picture for piece in pieces if piece.picture >= 0],
        tokens=sum(len(piece.tree) for piece in pieces),
        one_line=one_line,
    )


def _pieces(
    batch: TokenBatch, tokens: Sequence[Tensor], markers: Sequence[int], one_line: bool
) -> list[_Piece]:
    together: dict[tuple[int, bytes], list[int]] = {}
    for index, picture in enumerate(batch.picture):
        start = b"" if picture < 0 else _through_pictures(tokens[index], markers)
        together.setdefault((picture, start), []).append(index)
    pieces: list[_Piece] = []
    column = 0
    for line, ((picture, _), members) in enumerate(sorted(together.items())):
        # the last token of a completion predicts nothing and needs no column
        tree = build_tree([tokens[index][:-1] for index in members])
        place = (0, column) if one_line else (line, 0)
        pieces.append(_Piece(picture, tree, members, *place))
        column += len(tree)
    return pieces


def _through_pictures(tokens: Tensor, markers: Sequence[int]) -> bytes:
    """Return the tokens of a sequence up to the end of its last picture."""
    inside = torch.isin(tokens, torch.tensor(markers)).nonzero()
    return tokens[: int(inside[-1]) + 1].numpy().tobytes() if len(inside) else b""


def _predicting_places(
    batch: TokenBatch, pieces: Sequence[_Piece], width: int
) -> tuple[Tensor, Tensor]:
    """Return the flat column that predicts each completion token, and the token's sequence."""
    places: dict[int, Tensor] = {}
    for piece in pieces:
        origin = piece.line * width + piece.column
        for index, path in zip(piece.members, piece.tree.paths, strict=True):
            places[index] = origin + path[batch.prompt_lengths[index] - 1 :]
    in_order = [places[index] for index in range(len(batch))]
    owner = torch.repeat_interleave(torch.tensor([len(each) for each in in_order]))
    return torch.cat(in_order), owner


def _positions(
    model: nn.Module, batch: TokenBatch, tokens: Sequence[Tensor], piece: _Piece
) -> Tensor:
    """Return positions along the paths: `(columns,)`, or `(3, columns)` for multimodal rotary ones.

    The family's own function gives those of one whole sequence, its pictures included. After the
    last picture, which all paths of a tree share, positions of text increase by one in all three
    axes, so a position on another path is its depth plus the offset at the end of that sequence.
    """
    tree, depth = piece.tree, piece.tree.depth
    own = int(tree.sequence[0])
    whole = piece.members[own]
    if batch.picture[whole] < 0:
        return depth.expand(3, -1) if _rope_index(model) else depth
    branches = tree.sequence != own
    along = _rope_positions(model, batch, whole)
    if along is None:
        return depth
    # columns of the first path are its depths, in order
    text = depth + (along[:, -1:] - (along.shape[-1] - 1))
    return torch.where(branches, text, along[:, depth.clamp(max=along.shape[-1] - 1)])


def _rope_index(model: nn.Module):  # type: ignore[no-untyped-def]
    """Return the family's function for multimodal rotary positions, None where it has none."""
    for module in model.modules():
        if hasattr(type(module), "get_rope_index"):
            return module.get_rope_index
    return None


def _rope_positions(model: nn.Module, batch: TokenBatch, index: int) -> Tensor | None:
    function = _rope_index(model)
    if function is None:
        return None
    known = {
        "input_ids": batch.input_ids[index][None],
        **{name: values[index][None] for name, values in batch.token_inputs.items()},
        **batch.vision[batch.picture[index]],
    }
    wanted = inspect.signature(function).parameters
    inputs = {name: value for name, value in known.items() if name in wanted}
    positions: Tensor = function(**inputs)[0]
    return positions[:, 0]
