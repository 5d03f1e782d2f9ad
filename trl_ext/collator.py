"""Collates NCA-P rows: four completions a row, side by choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from spy_plugin.errors import DataError
from trl_ext.encoding import Conversation, SequenceEncoder
from trl_ext.loss import CHOICES, SIDES

Row = dict[str, Any]


class PairedCollator:
    """Collates NCA-P rows for `NCAPrivTrainer`.

    Each row has `images` (or `image`, or neither), and for both sides i of the instruction
    `prompt_i`, `chosen_i` and `rejected_i`. A batch is a dict of

    - `sequences`: `Sequences`, four a row in the order of `trl_ext.loss.ROW`;
    - `completion_tokens`: their completion lengths, shape `(rows, 2, 2)`: side, then (chosen,
      rejected);
    - `reference`: log-probabilities under the reference model, the same shape, if the rows have
      them as `ref_chosen_logps` and `ref_rejected_logps`.
    """

    def __init__(self, encoder: SequenceEncoder) -> None:
        self.encoder = encoder

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        sequences = self.encoder(
            [each for index, row in enumerate(rows) for each in _conversations(row, index)]
        )
        batch = {
            "sequences": sequences,
            "completion_tokens": torch.tensor(sequences.completion_lengths).view(-1, 2, 2),
        }
        if "ref_chosen_logps" in rows[0]:
            chosen, rejected = (
                torch.tensor([row[f"ref_{choice}_logps"] for row in rows]) for choice in CHOICES
            )
            batch["reference"] = torch.stack([chosen, rejected], dim=2)
        return batch

    def identity(self, dataset: Any) -> str:
        """Tells apart what makes other sequences of the same rows; for caches on disk."""
        from datasets.fingerprint import Hasher

        encoder = self.encoder
        settings = encoder.processor.to_dict() if hasattr(encoder.processor, "to_dict") else {}
        options = (encoder.max_length, encoder.extra_end_token)
        # The first row's tokens stand for the chat template and the tokenizer.
        return str(Hasher.hash((settings, options, self([dataset[0]]))))


def _conversations(row: Row, index: int) -> Iterator[Conversation]:
    name = ", ".join(
        f"{key} {row[key]}" for key in ("item_id", "image_id", "label") if row.get(key) is not None
    )
    name = f"row {name}" if name else f"row {index} of a batch"
    columns = [f"{part}_{side}" for side in SIDES for part in ("prompt", *CHOICES)]
    if missing := [column for column in columns if not row.get(column)]:
        raise DataError(
            f"no {', '.join(missing)}",
            "NCA-P rows have a prompt, a chosen and a rejected answer for each side; "
            "load_spy_tune(..., kind='paired') makes them",
            where=name,
        )
    images = row.get("images") or ([row["image"]] if row.get("image") is not None else [])
    options = {**(row.get("chat_template_kwargs") or {})}
    if row.get("tools"):
        options["tools"] = row["tools"]
    for side in SIDES:
        for choice in CHOICES:
            prompt, completion = row[f"prompt_{side}"], row[f"{choice}_{side}"]
            yield Conversation(name, images, prompt, completion, options)
