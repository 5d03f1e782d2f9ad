"""What grouping by picture has to know of a data set: which rows share one, and their tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from datasets import Dataset, Image, List
from datasets.fingerprint import Hasher

from spy_plugin.errors import DataError
from trl_ext.collator import PreferenceCollator
from trl_ext.encoding import Conversation
from trl_ext.grouping import PictureBatchSampler
from trl_ext.row_cache import cache_file
from trl_ext.token_tree import build_tree


def picture_batches(
    dataset: Dataset,
    collator: Any,
    *,
    rows_per_batch: int,
    max_tokens: int | None,
    processes: int,
    seed: int,
    workers: int | None = None,
) -> PictureBatchSampler:
    """Batches that keep the rows of a picture together.

    Args:
        dataset: Preference rows.
        collator: Of the trainer; counts the tokens where there is a limit.
        rows_per_batch: On average.
        max_tokens: Most tokens of a packed batch, `None` for no limit. Counting encodes every row
            once; the counts are cached with the data set.
        processes: That step together.
        seed: Of the shuffles.
        workers: Processes that count.
    """
    shared: list[int] | None = None
    own: list[int] | None = None
    if max_tokens is not None:
        counts = _token_counts(dataset, collator, workers)
        shared, own = list(counts["picture_tokens"]), list(counts["row_tokens"])
    return PictureBatchSampler(
        picture_keys(dataset),
        rows_per_batch,
        picture_tokens=shared,
        row_tokens=own,
        token_budget=max_tokens,
        processes=processes,
        seed=seed,
    )


def picture_keys(dataset: Dataset) -> list[Hashable]:
    """What each row shows, equal for the same picture: `image_id`, else the picture's file.

    Raises:
        DataError: there is neither column; or pictures that are no files.
    """
    if "image_id" in dataset.column_names:
        return list(dataset["image_id"])
    if "images" not in dataset.column_names:
        raise DataError(
            'prefix_sharing="image" groups rows by picture, but they have neither image_id nor '
            "images",
            'Add one of the columns, or use prefix_sharing="row"',
        )
    files = dataset.select_columns("images").cast_column("images", List(Image(decode=False)))
    return [tuple(_name(file) for file in row["images"]) for row in files]


def _name(file: dict[str, Any]) -> str:
    return str(file["path"] or hashlib.sha256(file["bytes"]).hexdigest())


def _token_counts(dataset: Dataset, collator: Any, workers: int | None) -> Dataset:
    """Columns `picture_tokens` (all up to the text, pictures first) and `row_tokens`, the rest."""
    if not isinstance(collator, PreferenceCollator):
        raise DataError(
            "max_batch_tokens needs the trainer's own collator to count tokens",
            "Leave out data_collator or max_batch_tokens",
        )

    def count(row: dict[str, Any]) -> dict[str, int]:
        first, *others = collator.conversations(row)
        sequences = collator.encoder([first, *others, _with_other_text(first)]).input_ids
        *ids, probe = [each.tolist() for each in sequences]
        pairs = enumerate(zip(ids[0], probe, strict=False))
        shared = next((place for place, (a, b) in pairs if a != b), 0)
        return {
            "picture_tokens": shared,
            "row_tokens": len(build_tree([each[:-1] for each in ids])) - shared,
        }

    fingerprint = Hasher.hash((dataset._fingerprint, "tokens", collator.identity(dataset)))
    return dataset.map(
        count,
        remove_columns=dataset.column_names,
        num_proc=workers,
        new_fingerprint=fingerprint,
        cache_file_name=cache_file(dataset, fingerprint),
        desc="Counting tokens",
    )


def _with_other_text(conversation: Conversation) -> Conversation:
    """The same pictures under another question: what stays of the tokens is the pictures'."""
    *before, last = conversation.prompt
    content = last["content"]
    if not isinstance(content, str):
        content = [{**part, "text": "?"} if part["type"] == "text" else part for part in content]
    other = "?" if isinstance(content, str) else content
    return replace(conversation, prompt=[*before, {**last, "content": other}])
