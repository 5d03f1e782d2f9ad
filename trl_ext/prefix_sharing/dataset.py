"""Reads from a data set what must be known before training: pictures, tokens, batches."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

from datasets import Dataset, IterableDataset

from spy_plugin.errors import DataError
from trl_ext.prefix_sharing.batching import PictureBatchSampler
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.errors import TrainerSetupError
from trl_ext.prefix_sharing.pictures import PictureFiles, is_transformed, undecoded
from trl_ext.prefix_sharing.token_counts import Counts, token_counts

logger = logging.getLogger(__name__)

DEVICE_ROWS = 8
"""Rows per device batch where `rows_per_step` is set and nothing limits its tokens."""


CHECKED_TOGETHER = 1_000
"""Rows that are read at a time to check them."""


def first_rows(dataset: Dataset | IterableDataset, number: int = 1) -> list[dict[str, Any]]:
    """Return the first rows, or the first that show a picture if any of the first hundred does."""
    rows = list(islice(iter(dataset), 100 if isinstance(dataset, Dataset) else number))
    shown = [row for row in rows if row.get("images") or row.get("image") is not None]
    return (shown or rows)[:number]


def readied(dataset: Any, args: Any, collator: Any, name: str) -> Any:
    """Return rows with undecoded pictures, and with their lengths where a sampler needs them.

    Args:
        dataset: One data set, several by name, or none.
        args: The trainer's arguments.
        collator: The trainer's collator; with another than ours, rows are left as they are.
        name: What the data set is called in errors.

    Raises:
        TrainerSetupError: the data set is of another type, or has no rows.
    """
    if isinstance(dataset, dict):
        return {
            key: readied(each, args, collator, f"{name}[{key!r}]") for key, each in dataset.items()
        }
    if dataset is None or not isinstance(collator, PreferenceCollator):
        return dataset
    if not isinstance(dataset, (Dataset, IterableDataset)):
        raise TrainerSetupError(
            f"{name} is a {type(dataset).__name__}. Pass a datasets.Dataset or an "
            "IterableDataset; datasets.Dataset.from_list makes one of a list of rows."
        )
    if is_fixed(dataset):
        dataset = dataset.with_format(None)  # another format would make tensors of the values
    dataset = undecoded(dataset)
    if next(iter(dataset), None) is None:
        raise TrainerSetupError(f"{name} has no rows. Give one with rows.")
    by_length = args.train_sampling_strategy in ("group_by_length", "batch_rebalance")
    column = args.length_column_name
    if by_length and is_fixed(dataset) and column not in dataset.column_names:
        with args.main_process_first():
            counts = token_counts(dataset, collator, args.dataloader_num_workers)
        dataset = dataset.add_column(column, [each.shared + each.own for each in counts])
    return dataset


def is_fixed(dataset: Any) -> bool:
    """Return whether all rows can be looked at before training: not those of a stream, nor those
    that a transform (`set_transform`) makes as they are read."""
    return isinstance(dataset, Dataset) and not is_transformed(dataset)


def check_rows(dataset: Any, collator: Any) -> None:
    """Check columns and texts of all rows, so that a wrong one does not end a run in its middle.

    Pictures are not opened. Streams, rows that a transform makes and rows for another collator are
    not checked.

    Raises:
        RowError: names the first wrong row.
    """
    if isinstance(dataset, dict):
        for each in dataset.values():
            check_rows(each, collator)
    if not is_fixed(dataset) or not isinstance(collator, PreferenceCollator):
        return
    names = [name for name in dataset.column_names if name not in ("images", "image")]
    index = 0
    for columns in dataset.select_columns(names).iter(CHECKED_TOGETHER):
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            for conversation in collator.conversations(row, f"row {index}"):
                collator.encoder.check(conversation)
            index += 1


def plan_batches(dataset: Any, args: Any, collator: Any) -> PictureBatchSampler | None:
    """Plan an epoch's batches for `prefix_sharing="image"`; `rows_per_step` sets accumulation.

    With a limit of tokens, every row is encoded once to count its tokens; the counts are cached by
    the content of the row.

    Raises:
        TrainerSetupError: the data set is a stream, or a transform makes its rows.
        GroupingError: the rows do not fit into batches of that size.
    """
    if args.prefix_sharing != "image":
        return None
    if not is_fixed(dataset):
        raise TrainerSetupError(
            'prefix_sharing="image" looks at all rows before it groups them, which a stream or a '
            "transform does not allow. Use a map-style dataset (and its map), or "
            'prefix_sharing="row".'
        )
    rows = args.train_batch_size
    if args.accelerator_config.split_batches:  # one batch for all processes
        rows = max(1, rows // args.world_size)
    if args.rows_per_step is not None:
        share = ceil(args.rows_per_step / args.world_size)
        rows = share if args.max_batch_tokens else min(share, max(rows, DEVICE_ROWS))
    with args.main_process_first():
        grouped = PictureRows.of(
            dataset, collator, args.max_batch_tokens is not None, args.dataloader_num_workers
        )
    batches = grouped.batches(
        rows,
        token_budget=args.max_batch_tokens,
        rows_per_step=args.rows_per_step,
        processes=args.world_size,
        shuffle=args.train_sampling_strategy != "sequential",
        seed=args.seed if args.data_seed is None else args.data_seed,
    )
    if args.rows_per_step is not None:
        set_accumulation(args, batches.batches_per_step)
    per_step = args.gradient_accumulation_steps * args.world_size
    logger.info(
        "%d rows of %d pictures: %d batches per epoch, %d per step on each of %d processes, "
        "%.1f rows per step on average",
        *(len(dataset), batches.pictures, len(batches), args.gradient_accumulation_steps),
        *(args.world_size, batches.mean_rows * per_step),
    )
    return batches


def set_accumulation(args: Any, steps: int) -> None:
    """Set `gradient_accumulation_steps`, in DeepSpeed's settings, too, where a file was read."""
    args.gradient_accumulation_steps = steps
    if (deepspeed := getattr(args, "hf_deepspeed_config", None)) is not None:
        deepspeed.config["gradient_accumulation_steps"] = steps
        deepspeed.config["train_batch_size"] = (
            steps * args.per_device_train_batch_size * args.world_size
        )


@dataclass(frozen=True)
class PictureRows:
    """The picture that each row shows, and its tokens where they are limited.

    Attributes:
        pictures: Equal keys are the same picture (after the same beginning, where tokens are
            counted), whose tokens rows share.
        counts: Tokens of each row; None where they are not limited.
    """

    pictures: list[Hashable]
    counts: list[Counts] | None = None

    @classmethod
    def of(cls, dataset: Dataset, collator: Any, count: bool, workers: int = 0) -> PictureRows:
        """Read the rows of a data set.

        Args:
            dataset: Preference rows.
            collator: The trainer's; counts the tokens.
            count: Whether to count tokens. Counting encodes the texts of every row once; the counts
                are cached by the content of the row.
            workers: Number of processes that count.
        """
        pictures = picture_keys(dataset)
        if not count:
            return cls(pictures)
        counts = token_counts(dataset, collator, workers)
        usual: dict[Hashable, str] = {}  # how the first row with a picture begins
        for index, (picture, row) in enumerate(zip(pictures, counts, strict=True)):
            if usual.setdefault(picture, row.start) != row.start:
                pictures[index] = (picture, row.start)
        return cls(pictures, counts)

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: Sequence[int]) -> PictureRows:
        """Return those of `rows`."""
        counts = None if self.counts is None else [self.counts[row] for row in rows]
        return PictureRows([self.pictures[row] for row in rows], counts)

    def batches(self, rows_per_batch: int, **options: Any) -> PictureBatchSampler:
        """Group into batches of `rows_per_batch` rows, or of `token_budget` tokens."""
        return PictureBatchSampler(self.pictures, rows_per_batch, **self._tokens(), **options)

    def _tokens(self) -> dict[str, Any]:
        if self.counts is None:
            return {}
        return {
            "picture_tokens": [each.shared for each in self.counts],
            "row_tokens": [each.own for each in self.counts],
        }


def picture_keys(dataset: Dataset) -> list[Hashable]:
    """Return a key per row, equal for equal pictures: `image_id`, else the pictures' content.

    Raises:
        DataError: no column identifies the pictures.
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
