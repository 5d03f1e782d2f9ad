"""Collates preference rows: every completion of a row, side by choice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl.data_utils import extract_prompt

from trl_ext.nca_priv.nca_priv_trainer import CHOICES, SIDES
from trl_ext.prefix_sharing.chat_texts import Conversation
from trl_ext.prefix_sharing.encoding import SequenceEncoder
from trl_ext.prefix_sharing.errors import RowError

Row = dict[str, Any]


class PreferenceCollator:
    """Collates rows for `NCAPrivTrainer` and `PrefixDPOTrainer`.

    Each row has `images` (or `image`, or neither), and for each of its sides a prompt, a chosen
    and a rejected answer: `prompt_0`, ..., `rejected_1` with the two sides of NCA-P, `prompt`,
    `chosen` and `rejected` with one. They are lists of messages, or texts. A batch is a dict of

    - `input_ids` and `attention_mask`, `(rows, tokens)`: a row's sequences end to end, for counting
      tokens and for `include_for_metrics`; no model sees them;
    - `sequences`: a `TokenBatch` of all completions, row after row, in a row side after side, on
      each side chosen, then rejected;
    - `completion_tokens`: their completion lengths, shape `(rows, sides, choices)`;
    - `ref_chosen_logps` and `ref_rejected_logps`: log-probabilities under the reference model,
      shape `(rows, sides)`, if the rows have them.

    Args:
        encoder: Encodes the conversations.
        sides: Suffixes of the columns of each side.
    """

    def __init__(self, encoder: SequenceEncoder, sides: Sequence[str] = SIDES) -> None:
        self.encoder = encoder
        self.sides = sides

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        sequences = self.encoder(
            [
                each
                for index, row in enumerate(rows)
                for each in self.conversations(row, f"row {index} of a batch")
            ]
        )
        per_row = len(self.sides) * len(CHOICES)
        whole = [
            torch.cat(sequences.input_ids[start : start + per_row])
            for start in range(0, len(sequences), per_row)
        ]
        lengths = torch.tensor(sequences.completion_lengths)
        batch = {
            "input_ids": pad_sequence(whole, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(each) for each in whole], True),
            "sequences": sequences,
            "completion_tokens": lengths.view(len(rows), len(self.sides), len(CHOICES)),
        }
        for name in [f"ref_{choice}_logps" for choice in CHOICES]:
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch

    def conversations(self, row: Row, place: str = "a row") -> Iterator[Conversation]:
        """Yield a row's completions; `place` names a row that has no name of its own."""
        name = _name(row) or place
        if self.sides == ("",) and not row.get("prompt") and row.get("chosen"):
            row = {**row, **extract_prompt({choice: row[choice] for choice in CHOICES})}
        columns = [f"{part}{side}" for side in self.sides for part in ("prompt", *CHOICES)]
        if missing := [column for column in columns if not row.get(column)]:
            raise RowError(
                f"no {', '.join(missing)}",
                f"A row has the columns {', '.join(columns)}; load_spy_tune makes them",
                where=name,
            )
        images = row.get("images") or ([row["image"]] if row.get("image") is not None else [])
        if not isinstance(images, list | tuple):
            raise RowError(
                f"images holds a {type(images).__name__}, not a list of pictures",
                "Make it a list, or name the column of single pictures image",
                where=name,
            )
        options = {**(row.get("chat_template_kwargs") or {})}
        if tools := row.get("tools"):
            options["tools"] = json.loads(tools) if isinstance(tools, str) else tools
        for side in self.sides:
            for choice in CHOICES:
                prompt, completion = row[f"prompt{side}"], row[f"{choice}{side}"]
                yield Conversation(name, list(images), prompt, completion, options)

    @property
    def columns(self) -> list[str]:
        """Columns that change a row's sequences."""
        parts = [f"{part}{side}" for side in self.sides for part in ("prompt", *CHOICES)]
        return [*("images", "image", "tools", "chat_template_kwargs"), *parts]

    def identity(self) -> str:
        """Return a digest of what turns rows into sequences; for caches on disk.

        It covers everything that the processor saves: chat template, vocabulary, picture sizes.
        """
        encoder = self.encoder
        options = (type(encoder.processor).__name__, encoder.max_length, encoder.extra_end_token)
        digest = hashlib.sha256(repr((*options, tuple(self.sides))).encode())
        with TemporaryDirectory() as folder:
            encoder.processor.save_pretrained(folder)
            for file in sorted(Path(folder).rglob("*")):
                if file.is_file():
                    digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()[:32]


def _name(row: Row) -> str:
    keys = [key for key in ("item_id", "image_id", "label") if row.get(key) is not None]
    return f"row {', '.join(f'{key} {row[key]}' for key in keys)}" if keys else ""
