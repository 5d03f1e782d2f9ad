"""Collates preference rows: every completion of a row, side by choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from spy_plugin.errors import DataError
from trl_ext.encoding import Conversation, SequenceEncoder
from trl_ext.loss import CHOICES, PAIRED

Row = dict[str, Any]


class PreferenceCollator:
    """Collates rows for `NCAPrivTrainer` and `PrefixDPOTrainer`.

    Each row has `images` (or `image`, or neither), and for each of its sides a prompt, a chosen
    and a rejected answer: `prompt_0`, ..., `rejected_1` with the two sides of NCA-P, `prompt`,
    `chosen` and `rejected` with one. A batch is a dict of

    - `sequences`: `Sequences`, in the order of `trl_ext.loss.columns`, row after row;
    - `completion_tokens`: their completion lengths, shape `(rows, sides, 2)`: side, then (chosen,
      rejected);
    - `reference`: log-probabilities under the reference model, the same shape, if the rows have
      them as `ref_chosen_logps` and `ref_rejected_logps`, a number a side each.
    """

    def __init__(self, encoder: SequenceEncoder, sides: Sequence[str] = PAIRED) -> None:
        self.encoder = encoder
        self.sides = sides

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        sequences = self.encoder(
            [each for index, row in enumerate(rows) for each in self.conversations(row, index)]
        )
        lengths = torch.tensor(sequences.completion_lengths)
        batch = {
            "sequences": sequences,
            "completion_tokens": lengths.view(len(rows), len(self.sides), len(CHOICES)),
        }
        if "ref_chosen_logps" in rows[0]:
            chosen, rejected = (
                torch.tensor([row[f"ref_{choice}_logps"] for row in rows]) for choice in CHOICES
            )
            batch["reference"] = torch.stack([chosen, rejected], dim=2)
        return batch

    def conversations(self, row: Row, index: int = 0) -> Iterator[Conversation]:
        """A row's completions; `index` names a row that has no name of its own."""
        name = _name(row, index)
        columns = [f"{part}{side}" for side in self.sides for part in ("prompt", *CHOICES)]
        if missing := [column for column in columns if not row.get(column)]:
            raise DataError(
                f"no {', '.join(missing)}",
                f"A row has the columns {', '.join(columns)}; load_spy_tune makes them",
                where=name,
            )
        images = row.get("images") or ([row["image"]] if row.get("image") is not None else [])
        options = {**(row.get("chat_template_kwargs") or {})}
        if row.get("tools"):
            options["tools"] = row["tools"]
        for side in self.sides:
            for choice in CHOICES:
                prompt, completion = row[f"prompt{side}"], row[f"{choice}{side}"]
                yield Conversation(name, images, prompt, completion, options)

    def identity(self, dataset: Any) -> str:
        """Tells apart what makes other sequences of the same rows; for caches on disk."""
        from datasets.fingerprint import Hasher

        encoder = self.encoder
        settings = encoder.processor.to_dict() if hasattr(encoder.processor, "to_dict") else {}
        options = (encoder.max_length, encoder.extra_end_token)
        # The first row's tokens stand for the chat template and the tokenizer.
        return str(Hasher.hash((settings, options, self([dataset[0]]))))


def _name(row: Row, index: int) -> str:
    keys = [key for key in ("item_id", "image_id", "label") if row.get(key) is not None]
    if not keys:
        return f"row {index} of a batch"
    return "row " + ", ".join(f"{key} {row[key]}" for key in keys)
