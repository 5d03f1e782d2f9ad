"""Lets a preference trainer of TRL run its batches on shared prefixes."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset, IterableDataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoProcessor, PreTrainedModel, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from trl_ext.checkpoints import WholeCheckpoints
from trl_ext.nca_priv.nca_priv_trainer import CHOICES
from trl_ext.prefix_sharing import resumed
from trl_ext.prefix_sharing.batching import PictureBatchSampler
from trl_ext.prefix_sharing.check import CheckedPrefixTree, load_layout
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.config import PrefixDPOConfig, check_arguments, refuse_family
from trl_ext.prefix_sharing.dataset import check_rows, first_rows, plan_batches, readied
from trl_ext.prefix_sharing.encoding import SequenceEncoder
from trl_ext.prefix_sharing.held_reference import TinyModel, held_as_reference, model_name
from trl_ext.prefix_sharing.inner_model import unwrapped
from trl_ext.prefix_sharing.layers import compile_layers, keep_activations
from trl_ext.prefix_sharing.plain import plain_log_probs
from trl_ext.prefix_sharing.recorded import RecordedMetrics
from trl_ext.prefix_sharing.reference import ReferencePass, weights_digest
from trl_ext.prefix_sharing.tested import warn_of_untested_trl
from trl_ext.prefix_sharing.token_batch import Layout, TokenBatch
from trl_ext.prefix_sharing.vision import freeze_vision
from trl_ext.replicas import SharedBuckets
from trl_ext.rounding import StochasticRounding

logger = logging.getLogger(__name__)

_COLUMNS = ("images", "image", "label", "item_id", "image_id", "tools", "chat_template_kwargs")


class _Callback(TrainerCallback):
    """Acts as training, its epochs and its steps begin or end."""

    def __init__(self, trainer: PrefixSharingMixin) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for dataset in (self.trainer.train_dataset, self.trainer.eval_dataset):
            check_rows(dataset, self.trainer._collate)
        if args.keep_activations:
            keep_activations(kwargs["model"], args.keep_activations)
        if self.trainer.batches is not None:
            state.stateful_callbacks[resumed.NAME] = resumed.record(self.trainer.batches)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_log:
            self.trainer._recorded.share(self.trainer)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer._recorded.share(self.trainer)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A resumed loader nests our sampler deeper than Accelerate looks for `set_epoch`.
        if self.trainer.batches is not None:
            self.trainer.batches.set_epoch(int(state.epoch or 0))


class PrefixSharingMixin(WholeCheckpoints, StochasticRounding, SharedBuckets):
    """Shared prefixes for a preference trainer of TRL: mix it in before that trainer.

    Its collator turns rows into token sequences with the pictures they share, and
    `completion_logps` runs them through the model so that each distinct prefix and picture is
    computed once. `prefix_sharing="image"` also puts rows of one picture into one batch.

    The trainer that it is mixed into computes its loss from `completion_logps(model, inputs)`,
    of shape `(rows, sides, choices)`, and from `ref_chosen_logps` and `ref_rejected_logps` in
    `inputs`, `(rows, sides)`, where the reference was computed before training.
    """

    _sides: Sequence[str]
    _config_class: type[Any] = PrefixDPOConfig

    def __init__(
        self,
        model: str | PreTrainedModel | Any,
        ref_model: PreTrainedModel | None = None,
        args: Any = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: Dataset | IterableDataset | dict[str, Any] | None = None,
        processing_class: Any = None,
        compute_metrics: Callable[[Any], dict[str, float]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
    ) -> None:
        warn_of_untested_trl()
        if args is None:
            args = self._config_class(f"{model_name(model).split('/')[-1]}-{cast(Any, self)._name}")
        check_arguments(args, model_name(model), ref_model, model, peft_config, self._config_class)
        if processing_class is None:
            processing_class = _load_processor(model_name(model), args, isinstance(model, str))
        if data_collator is None:
            encoder = SequenceEncoder(processing_class, args.max_length, args.extra_end_token)
            data_collator = PreferenceCollator(encoder, self._sides)
        self._collate = data_collator
        self.layout = load_layout(args.prefix_sharing, args.vision_cache)
        self._reference_layout: Layout = plain_log_probs
        self._reference: ReferencePass | None = None
        self._recorded = RecordedMetrics()
        self._picture_for_all: TokenBatch | None = None
        train_dataset = readied(train_dataset, args, data_collator, "train_dataset")
        eval_dataset = readied(eval_dataset, args, data_collator, "eval_dataset")
        self.batches: PictureBatchSampler | resumed.ResumedBatches | None
        self.batches = plan_batches(train_dataset, args, data_collator)
        arguments: dict[str, Any] = {
            "model": model,
            "ref_model": ref_model or held_as_reference(model, args, peft_config),
            "args": args,
            "data_collator": data_collator,
            "train_dataset": train_dataset,
            "eval_dataset": eval_dataset,
            "processing_class": processing_class,
            "compute_metrics": compute_metrics,
            "callbacks": callbacks,
            "optimizers": optimizers,
            "quantization_config": quantization_config,
            "peft_config": peft_config,
        }
        weights = weights_digest(ref_model) if args.precompute_ref_log_probs and ref_model else ""
        # TRL refuses to precompute for pictures, and loads a reference otherwise: it is used for
        # one pass over the rows, then freed.
        precompute, args.precompute_ref_log_probs = args.precompute_ref_log_probs, False
        try:
            super().__init__(**arguments)
        finally:
            args.precompute_ref_log_probs = precompute
        if isinstance(unwrapped(cast(Any, self).ref_model), TinyModel):
            cast(Any, self).ref_model = None
        self._set_up_model(args)
        self._look_at_first_rows()
        if precompute:
            self._precompute_reference(weights or weights_digest(self.model), ref_model is not None)
        if args.compile_layers:  # what came before would compile them for other types and modes
            compile_layers(cast(Any, self).model)
        self.add_callback(_Callback(self))

    def _set_up_model(self, args: Any) -> None:
        trainer = cast(Any, self)
        refuse_family(trainer.model)
        if args.freeze_vision:
            for frozen in filter(None, (trainer.model, trainer.ref_model)):
                freeze_vision(frozen)
        if getattr(self, "aux_loss_enabled", False):
            logger.warning(
                "The model routes tokens to experts; its load-balancing loss is not added to ours."
            )

    def _look_at_first_rows(self) -> None:
        """Compare the layouts on the first rows, before FSDP, DeepSpeed or DDP take the model."""
        trainer = cast(Any, self)
        batch: TokenBatch = self._collate(first_rows(self.train_dataset))["sequences"]
        if isinstance(self.layout, CheckedPrefixTree):
            self.layout.check(trainer.model, batch, self.accelerator.device)
            reference = trainer.ref_model
            if reference is None or type(unwrapped(reference)) is type(unwrapped(trainer.model)):
                self._reference_layout = self.layout.of_same_kind()
        plugin = self.args.deepspeed_plugin
        sharded = self.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3)
        if sharded and batch.vision:
            # Where weights are in parts on all processes, all must call the vision tower, or none.
            self._picture_for_all = batch.take([0]).to(self.accelerator.device)

    def _precompute_reference(self, weights: str, kept: bool) -> None:
        """Add the reference's log-probabilities to the rows, then free a model loaded for it."""
        self._reference = ReferencePass(self, weights)
        self.train_dataset = self._reference.add_to(self.train_dataset, "training")
        self.eval_dataset = self._reference.add_to(self.eval_dataset, "evaluation")
        if not kept:
            cast(Any, self).ref_model = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _prepare_dataset(
        self, dataset: Dataset | IterableDataset, *args: Any, **kwargs: Any
    ) -> Dataset | IterableDataset:
        return dataset  # rows are encoded by the collator

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            parts = [f"{part}{side}" for side in self._sides for part in ("prompt", *CHOICES)]
            references = [f"ref_{choice}_logps" for choice in CHOICES]
            read: Any = [self.args.length_column_name, *_COLUMNS, *parts, *references]
            self._signature_columns = read

    def completion_logps(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Compute the summed log-probability of every completion: `(rows, sides, choices)`."""
        is_reference = model is cast(Any, self).ref_model
        layout = self._reference_layout if is_reference else self.layout
        batch: TokenBatch = inputs["sequences"]
        if self._picture_for_all is not None and not batch.vision:
            *rest, added = layout(model, batch.joined(self._picture_for_all)).split(1)
            logps: Tensor = torch.cat(rest) + 0 * added
        else:
            logps = layout(model, batch)
        return logps.view(-1, len(self._sides), len(CHOICES))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute the loss; batches grouped by picture are weighted by their rows."""
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.batches is not None and model.training:
            # Batches grouped by picture differ in size; divided by the same number, every row
            # counts the same over an epoch.
            loss = loss * (len(inputs["input_ids"]) / self.batches.mean_rows)
        self._recorded.count(self, inputs)
        return (loss, outputs) if return_outputs else loss

    def _append_metrics(self, metrics: dict[str, Tensor]) -> None:
        self._recorded.append(self, metrics)

    def train(
        self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Train; a run that resumes takes the steps of the run that wrote the checkpoint, whatever
        number of processes both have."""
        checkpoint = resume_from_checkpoint
        if checkpoint is True:
            checkpoint = get_last_checkpoint(self.args.output_dir)
        if isinstance(checkpoint, str) and isinstance(self.batches, PictureBatchSampler):
            self.batches = resumed.resumed(self.batches, Path(checkpoint), self.args)
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Load batches of rows; with `prefix_sharing="image"` the rows of one picture together."""
        if self.batches is None:
            return super().get_train_dataloader()
        args = self.args
        loader: DataLoader[Any] = DataLoader(
            self._remove_unused_columns(cast(Dataset, self.train_dataset), description="training"),
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
        )
        # The batches are those of one process each, whatever a plain loader would split, and
        # copying one to the GPU need not wait for the work on the last.
        dealing = self.accelerator.dataloader_config
        kept = dealing.split_batches, dealing.non_blocking
        dealing.split_batches, dealing.non_blocking = False, args.dataloader_pin_memory
        try:
            return cast(DataLoader[Any], self.accelerator.prepare(loader))
        finally:
            dealing.split_batches, dealing.non_blocking = kept

    def get_total_train_batch_size(self, args: Any) -> int:
        """Return the rows per optimizer step, of which `train_samples_per_second` is made."""
        if self.batches is None:
            return int(cast(Any, super()).get_total_train_batch_size(args))
        per_step = args.gradient_accumulation_steps * args.world_size
        return round(self.batches.mean_rows * int(per_step))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Load batches for `evaluate`, with the reference where it was computed before training."""
        return super().get_eval_dataloader(self._prepared(eval_dataset))

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Load batches for `predict`, with the reference where it was computed before training."""
        return super().get_test_dataloader(self._prepared(test_dataset))

    def _prepared(self, dataset: Any) -> Any:
        """Prepare a data set for `evaluate` or `predict` as the constructor prepares its own."""
        if dataset is None or isinstance(dataset, str):
            return dataset
        dataset = readied(dataset, self.args, self._collate, "the data set")
        return self._reference.add_to(dataset, "evaluation") if self._reference else dataset

    def reference_is_available(self) -> bool:
        """Return whether the reference can still be run: trained weights do not lead back to it."""
        trainer = cast(Any, self)
        return (
            trainer.ref_model is not None
            or is_peft_model(trainer.model)
            or self.state.global_step == 0
        )


def _load_processor(name: str, args: Any, loaded: bool) -> Any:
    loading = args.model_init_kwargs if loaded else None
    return AutoProcessor.from_pretrained(
        name,
        revision=(loading or {}).get("revision"),
        trust_remote_code=args.trust_remote_code,
    )
