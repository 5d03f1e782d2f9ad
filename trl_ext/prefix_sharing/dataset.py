"""What grouping by picture has to know of a data set: which rows share one, and their tokens."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from datasets import Dataset

from spy_plugin.errors import DataError
from trl_ext.prefix_sharing.batching import PictureBatchSampler
from trl_ext.prefix_sharing.chat_texts import Conversation
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.pictures import PictureFiles
from trl_ext.prefix_sharing.row_cache import RowCache, row_keys
from trl_ext.prefix_sharing.tree import build_tree


def picture_batches(
    dataset: Dataset,
    collator: Any,
    *,
    rows_per_batch: int,
    max_tokens: int | None,
    processes: int,
    seed: int,
) -> PictureBatchSampler:
    """Batches that keep the rows of a picture together.

    Args:
        dataset: Preference rows.
        collator: Of the trainer; counts the tokens where there is a limit.
        rows_per_batch: On average.
        max_tokens: Most tokens of a packed batch, `None` for no limit. Counting encodes every row
            once; the counts are cached by the content of the row.
        processes: How many step together.
        seed: Seed of the shuffles.
    """
    shared: list[int] | None = None
    own: list[int] | None = None
    if max_tokens is not None:
        counts = _token_counts(dataset, collator)
        shared, own = [each[0] for each in counts], [each[1] for each in counts]
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
    """What each row shows, equal for the same picture: `image_id`, else the pictures' content.

    Raises:
        DataError: there is no column to tell.
    """
    if "image_id" in dataset.column_names:
        return list(dataset["image_id"])
    if not {"images", "image"} & set(dataset.column_names):
        raise DataError(
            'prefix_sharing="image" groups rows by picture, but they have neither image_id nor '
            "images",
            'Add one of the columns, or use prefix_sharing="row"',
        )
    pictures = PictureFiles(dataset)
    return [tuple(pictures.names(index)) for index in range(len(dataset))]


def _token_counts(dataset: Dataset, collator: Any) -> list[tuple[int, int]]:
    """Per row: tokens that the rows of its picture share (all up to the text), and its own."""
    if not isinstance(collator, PreferenceCollator):
        raise DataError(
            "max_batch_tokens needs the trainer's own collator to count tokens",
            "Leave out data_collator or max_batch_tokens",
        )
    cache = RowCache("tokens", collator.identity())
    keys, known = row_keys(dataset), cache.read()
    counted = {}
    for index, key in enumerate(keys):
        if key not in known and key not in counted:
            counted[key] = _count(dataset[index], collator)
    if counted:
        cache.add(counted)
    known |= counted
    return [tuple(known[key]) for key in keys]


def _count(row: dict[str, Any], collator: PreferenceCollator) -> tuple[int, int]:
    first, *others = collator.conversations(row)
    sequences = collator.encoder([first, *others, _with_other_text(first)]).input_ids
    *ids, probe = [each.tolist() for each in sequences]
    pairs = enumerate(zip(ids[0], probe, strict=False))
    shared = next((place for place, (a, b) in pairs if a != b), 0)
    return shared, len(build_tree([each[:-1] for each in ids])) - shared


def _with_other_text(conversation: Conversation) -> Conversation:
    """The same pictures under another question: what stays of the tokens is the pictures'."""
    *before, last = conversation.prompt
    content = last["content"]
    if not isinstance(content, str):
        content = [{**part, "text": "?"} if part["type"] == "text" else part for part in content]
    other = "?" if isinstance(content, str) else content
    return replace(conversation, prompt=[*before, {**last, "content": other}])
