"""What grouping by picture must know of a data set: which rows share one, and their tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from datasets import Dataset
from PIL import Image as PILImage
from torch.utils.data import DataLoader

from spy_plugin.errors import DataError
from trl_ext.prefix_sharing.batching import PictureBatchSampler
from trl_ext.prefix_sharing.chat_texts import Conversation, naming
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.pictures import PictureFiles, picture_size, undecoded
from trl_ext.prefix_sharing.row_cache import RowCache, row_keys
from trl_ext.prefix_sharing.tree import build_tree

Counts = tuple[int, int]
"""Tokens that the rows of a row's picture share (all up to the text), and the row's own."""

COUNTED_TOGETHER = 64
"""Rows that one worker counts at a time."""


@dataclass(frozen=True)
class PictureRows:
    """Which picture each row shows, and where there is a limit, its tokens.

    Attributes:
        pictures: Equal keys are the same picture.
        counts: Tokens of each row; None where they do not matter.
    """

    pictures: list[Hashable]
    counts: list[Counts] | None = None

    @classmethod
    def of(cls, dataset: Dataset, collator: Any, count: bool, workers: int = 0) -> PictureRows:
        """Read the rows of a data set.

        Args:
            dataset: Preference rows.
            collator: The trainer's; counts the tokens.
            count: Whether to count tokens. It encodes the texts of every row once; the counts are
                cached by the content of the row.
            workers: Processes that count.
        """
        counts = token_counts(dataset, collator, workers) if count else None
        return cls(picture_keys(dataset), counts)

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, rows: Sequence[int]) -> PictureRows:
        """Those of `rows`."""
        counts = None if self.counts is None else [self.counts[row] for row in rows]
        return PictureRows([self.pictures[row] for row in rows], counts)

    def batches(self, rows_per_batch: int, **options: Any) -> PictureBatchSampler:
        """Batches of `rows_per_batch` rows, or of `token_budget` tokens."""
        return PictureBatchSampler(self.pictures, rows_per_batch, **self._tokens(), **options)

    def _tokens(self) -> dict[str, Any]:
        if self.counts is None:
            return {}
        shared, own = zip(*self.counts, strict=True)
        return {"picture_tokens": shared, "row_tokens": own}


def picture_batches(
    dataset: Dataset,
    collator: Any,
    *,
    rows_per_batch: int,
    max_tokens: int | None,
    workers: int = 0,
    **options: Any,
) -> PictureBatchSampler:
    """Batches that keep the rows of a picture together.

    Args:
        dataset: Preference rows.
        collator: The trainer's collator; counts the tokens where there is a limit.
        rows_per_batch: Rows of a batch on average.
        max_tokens: Most tokens of a packed batch, `None` for no limit.
        workers: Processes that count tokens.
        **options: Further arguments of `PictureBatchSampler`.
    """
    rows = PictureRows.of(dataset, collator, max_tokens is not None, workers)
    return rows.batches(rows_per_batch, token_budget=max_tokens, **options)


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


def token_counts(dataset: Dataset, collator: Any, workers: int = 0) -> list[Counts]:
    """The tokens of each row.

    Raises:
        DataError: the collator is not the trainer's own.
    """
    if not isinstance(collator, PreferenceCollator):
        raise DataError(
            "tokens can be counted by the trainer's own collator alone",
            "Leave out data_collator, or max_batch_tokens and group_by_length",
        )
    cache = RowCache("tokens", collator.identity())
    keys, known = row_keys(dataset), cache.read()
    missing = list({key: row for row, key in enumerate(keys) if key not in known}.values())
    if missing:
        counted = _count(undecoded(dataset), missing, collator, workers)
        results = {keys[row]: counts for row, counts in zip(missing, counted, strict=True)}
        cache.add(results)
        known |= results
    return [(known[key][0], known[key][1]) for key in keys]


def _count(
    dataset: Dataset, rows: list[int], collator: PreferenceCollator, workers: int
) -> list[Counts]:
    chunks = [
        rows[start : start + COUNTED_TOGETHER] for start in range(0, len(rows), COUNTED_TOGETHER)
    ]
    loader: Iterable[list[Counts]] = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=chunks,
        collate_fn=partial(_counts_of, collator),
        num_workers=min(workers, len(chunks) - 1),
    )
    return [counts for chunk in loader for counts in chunk]


def _counts_of(collator: PreferenceCollator, rows: list[dict[str, Any]]) -> list[Counts]:
    """The counts of rows, with blank pictures: a picture's tokens depend on its size alone."""
    blanks: dict[tuple[int, int], PILImage.Image] = {}
    conversations: list[Conversation] = []
    for index, row in enumerate(rows):
        own = list(collator.conversations(row, index))
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
        counts.append((shared, len(build_tree([each[:-1] for each in ids])) - shared))
    return counts


def _with_other_text(conversation: Conversation) -> Conversation:
    """The same pictures under another question: what stays of the tokens is the pictures'."""
    if isinstance(conversation.prompt, str):
        return replace(conversation, prompt="?")
    *before, last = conversation.prompt
    content = last["content"]
    if not isinstance(content, str):
        content = [{**part, "text": "?"} if part["type"] == "text" else part for part in content]
    other = "?" if isinstance(content, str) else content
    return replace(conversation, prompt=[*before, {**last, "content": other}])
