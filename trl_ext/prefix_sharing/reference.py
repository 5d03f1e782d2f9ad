"""Log-probabilities of rows under the reference model, computed once and kept on disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import xxhash
from accelerate.utils import broadcast_object_list, gather_object, send_to_device
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from trl_ext.nca_priv.nca_priv_trainer import CHOICES
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.dataset import PictureRows, is_fixed
from trl_ext.prefix_sharing.digest import tensors_digest
from trl_ext.prefix_sharing.errors import TrainerSetupError
from trl_ext.prefix_sharing.row_cache import RowCache, row_keys

logger = logging.getLogger(__name__)

STORED_TOGETHER = 16
"""Batches after which results are written."""
FORWARD_TOKENS = 2
"""Tokens per batch of the reference, as a multiple of a training batch's: nothing is kept for a
backward pass."""

COLUMNS = tuple(f"ref_{choice}_logps" for choice in CHOICES)


class ReferencePass:
    """Adds the columns `ref_chosen_logps` and `ref_rejected_logps`, a number per side, to rows.

    Results are kept by the content of a row (texts and pictures), so that an interrupted pass
    resumes, and the same rows in another order or data set are not computed again.

    Args:
        trainer: Its `compute_ref_log_probs` computes them.
        weights: Digest of the reference's weights.
    """

    def __init__(self, trainer: Any, weights: str) -> None:
        self.trainer = trainer
        collator = trainer._collate
        ours = isinstance(collator, PreferenceCollator)
        encoding = collator.identity() if ours else ""
        self.columns: list[str] | None = collator.columns if ours else None
        precision = trainer.accelerator.mixed_precision
        parts = repr((weights, encoding, trainer._sides, precision))
        # All processes use the first one's name: digests of split weights differ by process.
        identity = [xxhash.xxh3_128_hexdigest(parts.encode())]
        broadcast_object_list(identity, from_process=0)
        self.cache = RowCache("reference", identity[0])

    def add_to(self, dataset: Any, name: str) -> Any:
        """Add the reference's columns to the rows of one data set, of several by name, or of none.

        Raises:
            TrainerSetupError: the data set is a stream; or its rows are new when the reference
                has been freed.
        """
        if dataset is None or isinstance(dataset, dict):
            return dataset and {key: self.add_to(each, key) for key, each in dataset.items()}
        if not is_fixed(dataset):
            raise TrainerSetupError(
                "precompute_ref_log_probs needs rows that can be counted and stay the same, not a "
                "stream or a transform. Use a map-style dataset (and its map), or leave the option "
                "out."
            )
        if set(COLUMNS) <= set(dataset.column_names):
            return dataset
        keys = row_keys(dataset, self.columns)
        known = self._known(keys)
        missing = [index for index, key in enumerate(keys) if key not in known]
        if missing:
            if not self.trainer.reference_is_available():
                raise TrainerSetupError(
                    f"{len(missing)} {name} rows have no reference log-probabilities, and the "
                    "reference was freed before training (precompute_ref_log_probs). Pass them as "
                    "eval_dataset when the trainer is made, or pass a ref_model, or set "
                    "precompute_ref_log_probs=False."
                )
            known |= self._compute(dataset, keys, missing, name)
        columns = zip(*(known[key] for key in keys), strict=True)
        for column, values in zip(COLUMNS, columns, strict=True):
            dataset = dataset.add_column(column, list(values))
        return dataset

    def _known(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the results on disk, as the first process sees them."""
        known: list[dict[str, Any]] = [{}]
        if self.trainer.accelerator.is_main_process:
            stored = self.cache.read()
            known = [{key: stored[key] for key in keys if key in stored}]
        broadcast_object_list(known, from_process=0)
        return known[0]

    def _compute(
        self, dataset: Dataset, keys: Sequence[str], missing: Sequence[int], name: str
    ) -> dict[str, Any]:
        trainer, accelerator = self.trainer, self.trainer.accelerator
        if accelerator.is_main_process:
            also = ", also those that max_steps leaves out" if trainer.args.max_steps > 0 else ""
            text = "the reference pass takes %d %s rows%s; --max_rows limits them"
            logger.info(text, len(missing), name, also)
        found: dict[str, Any] = {}
        model = _prepared(trainer)
        model.eval()
        batches = self._batches(dataset, missing)
        batches = batches[accelerator.process_index :: accelerator.num_processes]
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=trainer.data_collator,
            num_workers=min(trainer.args.dataloader_num_workers, len(batches) - 1),
            pin_memory=trainer.args.dataloader_pin_memory,
        )
        progress = tqdm(
            zip(batches, loader, strict=True),
            total=len(batches),
            desc=f"Reference log-probabilities of {name} rows",
            disable=trainer.args.disable_tqdm or not accelerator.is_main_process,
        )
        began = time.perf_counter()
        waiting: list[tuple[list[int], Any]] = []
        for number, (rows, batch) in enumerate(progress, start=1):
            # Not `_prepare_inputs`, which leaves everything but plain tensors where it is.
            inputs = send_to_device(batch, accelerator.device, non_blocking=True)
            numbers = trainer.compute_ref_log_probs(model, inputs)
            waiting.append((rows, numbers))
            if len(waiting) == STORED_TOGETHER or number == len(batches):
                # Reading numbers waits for the GPU: read them rarely, so that it always has work.
                results = dict(gather_object(list(_by_key(waiting, keys))))
                waiting.clear()
                found |= results
                if accelerator.is_main_process:
                    self.cache.add(results)
        accelerator.wait_for_everyone()
        seconds = time.perf_counter() - began
        logger.info("reference of %d %s rows: %.1f s", len(missing), name, seconds)
        return found

    def _batches(self, dataset: Dataset, missing: Sequence[int]) -> list[list[int]]:
        """Group rows by picture, in equally many batches per process: where parameters are
        sharded, processes must call the model equally often."""
        args, processes = self.trainer.args, self.trainer.accelerator.num_processes
        number = max(processes, len(missing))  # a row for every process
        rows = [missing[index % len(missing)] for index in range(number)]
        size = args.precompute_ref_batch_size or args.per_device_eval_batch_size
        options: dict[str, Any] = {"processes": processes}
        limited = args.prefix_sharing == "image" and args.max_batch_tokens is not None
        if limited and args.precompute_ref_batch_size is None:
            size = len(rows)
            options["token_budget"] = FORWARD_TOKENS * args.max_batch_tokens
        if {"image_id", "images", "image"} & set(dataset.column_names):
            workers = args.dataloader_num_workers
            pictures = PictureRows.of(dataset, self.trainer._collate, limited, workers)
        else:
            pictures = PictureRows(list(range(len(dataset))))
        grouped = pictures.take(rows).batches(size, **options)
        return [[rows[index] for index in batch] for batch in grouped]


def _by_key(
    batches: Sequence[tuple[list[int], Any]], keys: Sequence[str]
) -> Iterator[tuple[str, list[Any]]]:
    for rows, numbers in batches:
        columns = (each.tolist() for each in numbers)
        yield from ((keys[row], both) for row, *both in zip(rows, *columns, strict=True))


def _prepared(trainer: Any) -> nn.Module:
    """Return the reference model; without one the policy, before `train` prepares it."""
    if trainer.ref_model is not None:
        model: nn.Module = trainer.ref_model
        return model
    if trainer.is_deepspeed_enabled and trainer.model_wrapped is trainer.model:
        from trl.models.utils import prepare_deepspeed

        if not hasattr(trainer, "_reference_engine"):
            trainer._reference_engine = prepare_deepspeed(trainer.model, trainer.accelerator)
        return trainer._reference_engine  # type: ignore[no-any-return]
    return trainer.model  # type: ignore[no-any-return]


def weights_digest(model: Any) -> str:
    """Return a digest of a model's weights; adapters under training are left out.

    Under ZeRO-3 each process sees its own part of the weights.
    """
    adapters = hasattr(model, "peft_config")
    return tensors_digest(
        getattr(each, "ds_tensor", each)
        for each in (*model.parameters(), *model.buffers())
        if not (adapters and each.requires_grad)
    )
