"""What has to be known of a data set before training: pictures, tokens, batches."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from itertools import islice
from math import ceil
from typing import Any

from datasets import Dataset, IterableDataset

from spy_plugin.errors import DataError
from trl_ext.prefix_sharing.batching import PictureBatchSampler
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.encoding import Conversation
from trl_ext.prefix_sharing.errors import TrainerSetupError
from trl_ext.prefix_sharing.pictures import PictureFiles, undecoded
from trl_ext.prefix_sharing.row_cache import RowCache, row_keys
from trl_ext.prefix_sharing.tree import build_tree

DEVICE_ROWS = 8
"""Rows of a device's batch where `rows_per_step` is set and nothing limits its tokens."""


def first_rows(dataset: Dataset | IterableDataset, number: int = 1) -> list[dict[str, Any]]:
    """The first rows, of those that show a picture if any of the first hundred does."""
    rows = list(islice(iter(dataset), 100 if isinstance(dataset, Dataset) else number))
    shown = [row for row in rows if row.get("images") or row.get("image") is not None]
    return (shown or rows)[:number]


def readied(dataset: Any, args: Any, collator: Any) -> Any:
    """Rows with undecoded pictures, and with their lengths where a sampler asks for them.

    Args:
        dataset: One, several by name, or none.
        args: Of the trainer.
        collator: Of the trainer; rows for another than ours are left as they are.
    """
    if isinstance(dataset, dict):
        return {name: readied(each, args, collator) for name, each in dataset.items()}
    if dataset is None or not isinstance(collator, PreferenceCollator):
        return dataset
    dataset = undecoded(dataset)
    by_length = args.train_sampling_strategy in ("group_by_length", "batch_rebalance")
    name = args.length_column_name
    if by_length and isinstance(dataset, Dataset) and name not in dataset.column_names:
        with args.main_process_first():
            counts = token_counts(dataset, collator)
        dataset = dataset.add_column(name, [sum(each) for each in counts])
    return dataset


def plan_batches(dataset: Any, args: Any, collator: Any) -> PictureBatchSampler | None:
    """The batches of an epoch, with `prefix_sharing="image"`; `rows_per_step` sets accumulation.

    Tokens are counted, where there is a limit, by encoding every row once; the counts are cached
    by the content of the row.

    Raises:
        TrainerSetupError: a stream.
        GroupingError: the rows do not go into batches of that size.
    """
    if args.prefix_sharing != "image":
        return None
    if not isinstance(dataset, Dataset):
        raise TrainerSetupError(
            'prefix_sharing="image" looks at all rows before it groups them, which a stream does '
            'not allow. Use a map-style dataset, or prefix_sharing="row".'
        )
    rows = args.train_batch_size
    if args.accelerator_config.split_batches:  # one batch for all processes
        rows = max(1, rows // args.world_size)
    if args.rows_per_step is not None:
        share = ceil(args.rows_per_step / args.world_size)
        rows = share if args.max_batch_tokens else min(share, max(rows, DEVICE_ROWS))
    with args.main_process_first():
        counts = token_counts(dataset, collator) if args.max_batch_tokens is not None else []
    batches = PictureBatchSampler(
        picture_keys(dataset),
        rows,
        picture_tokens=[shared for shared, _ in counts] or None,
        row_tokens=[own for _, own in counts] or None,
        token_budget=args.max_batch_tokens,
        rows_per_step=args.rows_per_step,
        processes=args.world_size,
        shuffle=args.train_sampling_strategy != "sequential",
        seed=args.seed if args.data_seed is None else args.data_seed,
    )
    if args.rows_per_step is not None:
        args.gradient_accumulation_steps = batches.batches_per_step
    return batches


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


def token_counts(dataset: Dataset, collator: Any) -> list[tuple[int, int]]:
    """Per row: tokens that the rows of its picture share (all up to the text), and its own."""
    if not isinstance(collator, PreferenceCollator):
        raise DataError(
            "tokens can be counted by the trainer's own collator alone",
            "Leave out data_collator, or max_batch_tokens and group_by_length",
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
    if isinstance(conversation.prompt, str):
        return replace(conversation, images=[], prompt="?")
    *before, last = conversation.prompt
    content = last["content"]
    if not isinstance(content, str):
        content = [{**part, "text": "?"} if part["type"] == "text" else part for part in content]
    other = "?" if isinstance(content, str) else content
    return replace(conversation, prompt=[*before, {**last, "content": other}])
