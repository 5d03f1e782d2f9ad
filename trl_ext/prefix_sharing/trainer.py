"""What a preference trainer of TRL needs to run its batches on shared prefixes."""

from __future__ import annotations

import copy
import gc
import logging
import os
from collections.abc import Callable, Sequence
from itertools import islice
from math import ceil
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset, IterableDataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoProcessor, PreTrainedModel, TrainerCallback

from trl_ext.checkpoints import WholeCheckpoints
from trl_ext.nca_priv.nca_priv_trainer import CHOICES, append_metrics
from trl_ext.prefix_sharing.batching import PictureBatchSampler
from trl_ext.prefix_sharing.check import CheckedPrefixTree, SharedTokens, load_layout
from trl_ext.prefix_sharing.collator import PreferenceCollator
from trl_ext.prefix_sharing.config import PrefixDPOConfig, check_arguments, refuse_family
from trl_ext.prefix_sharing.dataset import picture_batches
from trl_ext.prefix_sharing.encoding import SequenceEncoder
from trl_ext.prefix_sharing.errors import TrainerSetupError
from trl_ext.prefix_sharing.inner_model import unwrapped
from trl_ext.prefix_sharing.layers import compile_layers, keep_activations
from trl_ext.prefix_sharing.pictures import undecoded
from trl_ext.prefix_sharing.plain import plain_log_probs
from trl_ext.prefix_sharing.recorded import RecordedMetrics
from trl_ext.prefix_sharing.reference import ReferencePass, weights_digest
from trl_ext.prefix_sharing.rounding import SameRounding, rounds_stochastically
from trl_ext.prefix_sharing.tested import warn_of_untested_trl
from trl_ext.prefix_sharing.token_batch import Layout, TokenBatch
from trl_ext.prefix_sharing.vision import freeze_vision

logger = logging.getLogger(__name__)

DEVICE_ROWS = 8
"""Rows of a device's batch where `rows_per_step` is set and nothing limits its tokens."""

_COLUMNS = ("images", "image", "label", "item_id", "image_id", "tools", "chat_template_kwargs")


class _Callback(TrainerCallback):
    """What has to happen as training and its epochs begin."""

    def __init__(self, trainer: PrefixSharingMixin) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.keep_activations:
            keep_activations(kwargs["model"], args.keep_activations)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_log:
            self.trainer.share_metrics()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.share_metrics()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A resumed loader nests our sampler deeper than Accelerate looks for `set_epoch`.
        if self.trainer.batches is not None:
            self.trainer.batches.set_epoch(int(state.epoch or 0))


class PrefixSharingMixin(WholeCheckpoints):
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
        name = model if isinstance(model, str) else model.config._name_or_path
        if args is None:
            args = self._config_class(f"{name.split('/')[-1]}-{cast(Any, self)._name}")
        check_arguments(args, name, ref_model, model, peft_config, self._config_class)
        if processing_class is None:
            loading = args.model_init_kwargs if isinstance(model, str) else None
            processing_class = AutoProcessor.from_pretrained(
                name,
                revision=(loading or {}).get("revision"),
                trust_remote_code=args.trust_remote_code,
            )
        if data_collator is None:
            encoder = SequenceEncoder(processing_class, args.max_length, args.extra_end_token)
            data_collator = PreferenceCollator(encoder, self._sides)
            train_dataset, eval_dataset = _undecoded(train_dataset), _undecoded(eval_dataset)
        self._collate = data_collator
        self.layout = load_layout(args.prefix_sharing, args.vision_cache)
        self._reference_layout: Layout = plain_log_probs
        self.batches = self._plan_batches(args, train_dataset)
        self._reference: ReferencePass | None = None
        self._recorded = RecordedMetrics()
        self._picture_for_all: TokenBatch | None = None
        kept = ref_model is not None
        adapters = peft_config is not None or (
            isinstance(model, nn.Module) and is_peft_model(model)
        )
        stand_in: Any = None
        if args.precompute_ref_log_probs and not (kept or adapters):
            if not (args.deepspeed_plugin is not None or _uses_fsdp(args)):
                ref_model = stand_in = tiny_model()
            elif not name:
                ref_model = copy.deepcopy(cast(PreTrainedModel, model))  # nowhere to load it from
        arguments: dict[str, Any] = {
            "model": model,
            "ref_model": ref_model,
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
        # TRL refuses to precompute for pictures, and loads a reference otherwise: it is used for
        # one pass over the rows, then freed.
        precompute, args.precompute_ref_log_probs = args.precompute_ref_log_probs, False
        weights = weights_digest(ref_model) if precompute and kept else None
        try:
            super().__init__(**arguments)
        finally:
            args.precompute_ref_log_probs = precompute
        if stand_in is not None:
            cast(Any, self).ref_model = None  # before it is trained, the policy is the reference
        self._set_up_model(args)
        self._look_at_first_rows()
        if precompute:
            self._precompute_reference(weights or weights_digest(self.model), kept)
        self.add_callback(_Callback(self))
        if rounds_stochastically(args):
            self.add_callback(SameRounding())

    def _set_up_model(self, args: Any) -> None:
        trainer = cast(Any, self)
        refuse_family(trainer.model)
        if args.freeze_vision:
            for frozen in filter(None, (trainer.model, trainer.ref_model)):
                freeze_vision(frozen)
        if args.compile_layers:
            compile_layers(trainer.model)
        if getattr(self, "aux_loss_enabled", False):
            logger.warning(
                "The model routes tokens to experts; its load-balancing loss is not added to ours."
            )

    def _look_at_first_rows(self) -> None:
        """Compare the layouts on them, before FSDP, DeepSpeed or DDP take the model."""
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
        if isinstance(self.eval_dataset, dict):
            self.eval_dataset = {
                name: self._reference.add_to(dataset, name)
                for name, dataset in self.eval_dataset.items()
            }
        elif self.eval_dataset is not None:
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
            read: Any = [*_COLUMNS, *parts, *references]
            self._signature_columns = read

    def completion_logps(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Summed log-probability of every completion: `(rows, sides, choices)`."""
        is_reference = model is cast(Any, self).ref_model
        layout = self._reference_layout if is_reference else self.layout
        batch: TokenBatch = inputs["sequences"]
        if self._picture_for_all is not None and not batch.vision:
            *rest, added = layout(model, batch.joined(self._picture_for_all)).split(1)
            logps = torch.cat(rest) + 0 * added
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
        """The loss of the trainer; batches grouped by picture count by their rows."""
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.batches is not None and model.training:
            # Batches grouped by picture differ in size; divided by the same number, every row
            # counts the same over an epoch.
            loss = loss * (len(inputs["input_ids"]) / self.batches.mean_rows)
        self._record_tokens(inputs, model.training)
        return (loss, outputs) if return_outputs else loss

    def _append_metrics(self, metrics: dict[str, Tensor]) -> None:
        if cast(nn.Module, self.model).training:
            self._recorded.add(metrics)
        else:
            append_metrics(cast(Any, self), metrics)

    def _record_tokens(self, inputs: dict[str, Any], training: bool) -> None:
        self._append_metrics(
            {"completion_tokens": inputs["completion_tokens"].flatten(1).sum(dim=1)}
        )
        if training:
            self._recorded.add({}, tokens=sum(map(len, inputs["sequences"].input_ids)))

    def share_metrics(self) -> None:
        """Hand the metrics of all processes to the next `log`; all must call it together."""
        counted = SharedTokens()
        if isinstance(self.layout, CheckedPrefixTree):
            counted = self.layout.take_counts()
        metrics = cast(Any, self)._metrics["train"]
        for name, values in self._recorded.share(counted).items():
            metrics[name].extend(values)
        metrics["num_tokens"] = [self._recorded.tokens]

    def _plan_batches(self, args: Any, dataset: Any) -> PictureBatchSampler | None:
        """The batches of an epoch, with `prefix_sharing="image"`; sets the accumulation."""
        if args.prefix_sharing != "image":
            return None
        if not isinstance(dataset, Dataset):
            raise TrainerSetupError(
                'prefix_sharing="image" looks at all rows before it groups them, which a stream '
                'does not allow. Use a map-style dataset, or prefix_sharing="row".'
            )
        rows = args.train_batch_size
        if args.accelerator_config.split_batches:  # one batch for all processes
            rows = max(1, rows // args.world_size)
        if args.rows_per_step is not None:
            share = ceil(args.rows_per_step / args.world_size)
            rows = share if args.max_batch_tokens else min(share, max(rows, DEVICE_ROWS))
        with args.main_process_first():
            batches = picture_batches(
                dataset,
                self._collate,
                rows_per_batch=rows,
                max_tokens=args.max_batch_tokens,
                rows_per_step=args.rows_per_step,
                processes=args.world_size,
                shuffle=args.train_sampling_strategy != "sequential",
                seed=args.seed if args.data_seed is None else args.data_seed,
                workers=args.dataloader_num_workers,
            )
        if args.rows_per_step is not None:
            set_accumulation(args, batches.batches_per_step)
        steps = len(batches) // (args.gradient_accumulation_steps * args.world_size)
        logger.info(
            "%d rows of %d pictures: %d batches per epoch, %d per step on each of %d processes, "
            "%.1f rows per step on average",
            len(dataset),
            batches.pictures,
            len(batches),
            args.gradient_accumulation_steps,
            args.world_size,
            len(dataset) / max(1, steps),
        )
        return batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of rows; with `prefix_sharing="image"` the rows of one picture together."""
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

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Batches for `evaluate`, with their reference where it was computed before training."""
        return super().get_eval_dataloader(self._prepared(eval_dataset))

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Batches for `predict`, with their reference where it was computed before training."""
        return super().get_test_dataloader(self._prepared(test_dataset))

    def _prepared(self, dataset: Any) -> Any:
        """A data set handed to `evaluate` or `predict`, as those of the constructor."""
        if dataset is None or isinstance(dataset, str):
            return dataset
        if isinstance(self._collate, PreferenceCollator):
            dataset = _undecoded(dataset)
        return dataset if self._reference is None else self._reference.add_to(dataset, "evaluation")

    def reference_is_at_hand(self) -> bool:
        """Whether the reference can still be run: trained weights have no way back to it."""
        trainer = cast(Any, self)
        return (
            trainer.ref_model is not None
            or is_peft_model(trainer.model)
            or self.state.global_step == 0
        )


def first_rows(dataset: Dataset | IterableDataset, number: int = 1) -> list[dict[str, Any]]:
    """The first rows, of those that show a picture if any of the first hundred does."""
    rows = list(islice(iter(dataset), 100 if isinstance(dataset, Dataset) else number))
    shown = [row for row in rows if row.get("images") or row.get("image") is not None]
    return (shown or rows)[:number]


def tiny_model() -> PreTrainedModel:
    """A model of some hundred weights, for TRL to hold instead of loading a reference."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 8}
    return LlamaForCausalLM(LlamaConfig(num_attention_heads=1, **sizes))


def _uses_fsdp(args: Any) -> bool:
    return bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def set_accumulation(args: Any, steps: int) -> None:
    """Set `gradient_accumulation_steps`, in DeepSpeed's settings, too, where a file was read."""
    args.gradient_accumulation_steps = steps
    if (deepspeed := getattr(args, "hf_deepspeed_config", None)) is not None:
        deepspeed.config["gradient_accumulation_steps"] = steps
        deepspeed.config["train_batch_size"] = (
            steps * args.per_device_train_batch_size * args.world_size
        )


def _undecoded(dataset: Any) -> Any:
    if isinstance(dataset, dict):
        return {name: undecoded(each) for name, each in dataset.items()}
    return dataset if dataset is None else undecoded(dataset)
