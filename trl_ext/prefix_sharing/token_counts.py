"""Counts the tokens of rows without decoding their pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import xxhash
from datasets import Dataset
from PIL import Image as PILImage
from torch.utils.data import DataLoader

from spy_plugin.errors import DataError
from trl_ext.prefix_sharing.chat_texts import Conversation, naming
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.pictures import picture_size, undecoded
from trl_ext.prefix_sharing.row_cache import RowCache, row_keys
from trl_ext.prefix_sharing.tree import build_tree


class Counts(NamedTuple):
    """Tokens of a row.

    Attributes:
        shared: Tokens before the question, which rows share that begin alike and show the same
            pictures.
        own: Its other tokens.
        start: Digest of the shared tokens. Rows that differ before their pictures, in the system
            prompt for instance, share nothing.
    """

    shared: int
    own: int
    start: str


COUNTED_TOGETHER = 64
"""Rows that one worker counts at a time."""


def token_counts(dataset: Dataset, collator: Any, workers: int = 0) -> list[Counts]:
    """Count the tokens of each row; the counts are cached by the content of the row.

    Args:
        dataset: Preference rows.
        collator: The trainer's own.
        workers: Processes that count.

    Raises:
        DataError: another collator.
        RowError: a row cannot be encoded.
    """
    if not isinstance(collator, PreferenceCollator):
        raise DataError(
            "tokens can be counted by the trainer's own collator alone",
            "Leave out data_collator, or max_batch_tokens and group_by_length",
        )
    cache = RowCache("token-counts", collator.identity())
    keys, known = row_keys(dataset, collator.columns), cache.read()
    missing = list({key: row for row, key in enumerate(keys) if key not in known}.values())
    if missing:
        counted = _count(undecoded(dataset), missing, collator, workers)
        results = {keys[row]: counts for row, counts in zip(missing, counted, strict=True)}
        cache.add(results)
        known |= results
    return [Counts(*known[key]) for key in keys]


def _count(
    dataset: Dataset, rows: list[int], collator: PreferenceCollator, workers: int
) -> list[Counts]:
    chunks = [
        rows[start : start + COUNTED_TOGETHER] for start in range(0, len(rows), COUNTED_TOGETHER)
    ]
    loader: Iterable[list[Counts]] = DataLoader(
        dataset,
        batch_sampler=chunks,
        collate_fn=partial(_counts_of, collator),
        num_workers=min(workers, len(chunks) - 1),
    )
    return [counts for chunk in loader for counts in chunk]


def _counts_of(collator: PreferenceCollator, rows: list[dict[str, Any]]) -> list[Counts]:
    """Count with blank pictures: the number of a picture's tokens depends on its size alone."""
    blanks: dict[tuple[int, int], PILImage.Image] = {}
    conversations: list[Conversation] = []
    for index, row in enumerate(rows):
        own = list(collator.conversations(row, f"row {index} of a batch"))
        with naming(own[0]):
            sizes = [picture_size(image) for image in own[0].images]
        images = [blanks.setdefault(size, PILImage.new("RGB", size)) for size in sizes]
        own = [replace(each, images=images) for each in own]
        conversations += [*own, _with_other_text(own[0])]
    sequences = collator.encoder(conversations).input_ids
    per_row = len(sequences) // len(rows)
    counts = []
    for start in range(0, len(sequences), per_row):
        *ids, probe = [each.numpy() for each in sequences[start : start + per_row]]
        length = min(len(ids[0]), len(probe))
        differ = ids[0][:length] != probe[:length]
        shared = int(differ.argmax()) if differ.any() else length
        tokens = len(build_tree([each[:-1] for each in ids]))
        beginning = xxhash.xxh3_64_hexdigest(ids[0][:shared].tobytes())
        counts.append(Counts(shared, tokens - shared, beginning))
    return counts


def _with_other_text(conversation: Conversation) -> Conversation:
    """Ask another question about the pictures: the tokens that stay equal are the pictures'."""
    if isinstance(conversation.prompt, str):  # where in a text its pictures end is not known
        return replace(conversation, prompt=f"?{conversation.prompt}")
    *before, last = conversation.prompt
    content = last["content"]
    if not isinstance(content, str):
        content = [{**part, "text": "?"} if part["type"] == "text" else part for part in content]
    other = "?" if isinstance(content, str) else content
    return replace(conversation, prompt=[*before, {**last, "content": other}])
