"""TRL's `DPOTrainer` on layouts that compute once what the sequences of a batch share."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from datasets import Dataset, IterableDataset
from datasets.fingerprint import Hasher
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoProcessor, PreTrainedModel, TrainerCallback
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import use_adapter

from trl_ext.checkpoints import WholeCheckpoints
from trl_ext.collator import PreferenceCollator
from trl_ext.config import PrefixDPOConfig, TrainerSetupError, check_arguments
from trl_ext.encoding import SequenceEncoder
from trl_ext.grouped_rows import picture_batches
from trl_ext.layers import compile_layers, keep_activations
from trl_ext.layouts import load_layout
from trl_ext.loss import CHOICES, LOSSES, SINGLE, columns, row_metrics
from trl_ext.row_cache import cache_file
from trl_ext.trl_surface import moved_names
from trl_ext.vision_cache import freeze_vision

logger = logging.getLogger(__name__)

_OPTIONAL = (
    "label",
    "item_id",
    "image_id",
    "tools",
    "chat_template_kwargs",
    "ref_chosen_logps",
    "ref_rejected_logps",
)


class _KeepActivations(TrainerCallback):
    """Exempts layers from gradient checkpointing, which `Trainer` turns on as training begins."""

    def __init__(self, layers: int) -> None:
        self.layers = layers

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        keep_activations(kwargs["model"], self.layers)


class PrefixDPOTrainer(WholeCheckpoints, DPOTrainer):
    """
    Trainer for DPO and NCA on conversations with pictures: TRL's, with the same numbers, but with
    prefixes and pictures that a batch shares computed once.

    It takes the arguments of [`~trl.DPOTrainer`] and does with them what that trainer does, with
    these differences:

    - Rows have an explicit `prompt`, `chosen` and `rejected`, in TRL's conversational format, and
      `images` (none, one or several).
    - `precompute_ref_log_probs` works with pictures. Its cache on disk is that of the dataset.
    - `compute_metrics` receives, a row, the implicit rewards of its answers as `predictions` and 1
      for a chosen, 0 for a rejected answer as `label_ids`.
    - Metrics of single tokens (entropy, mean logits, token accuracy) are not logged.

    Rows of a subclass may have several sides, each a prompt with two answers: `_sides` names the
    suffixes of their columns.
    """

    _sides: Sequence[str] = SINGLE
    _config_class: type[PrefixDPOConfig] = PrefixDPOConfig

    def __init__(
        self,
        model: str | PreTrainedModel | Any,
        ref_model: PreTrainedModel | None = None,
        args: PrefixDPOConfig | None = None,
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
        if moved := moved_names():
            raise TrainerSetupError(
                f"the installed TRL differs from those this trainer knows in {', '.join(moved)}. "
                "Install trl>=1.10,<=1.16, or a newer spy-bench."
            )
        name = model if isinstance(model, str) else model.config._name_or_path
        if args is None:
            args = self._config_class(f"{name.split('/')[-1]}-{self._name}")
        check_arguments(args, name, ref_model, model, peft_config, self._config_class)
        if processing_class is None:
            loading = args.model_init_kwargs if isinstance(model, str) else None
            processing_class = AutoProcessor.from_pretrained(
                name,
                revision=cast(dict[str, Any], loading or {}).get("revision"),
                trust_remote_code=args.trust_remote_code,
            )
        if data_collator is None:
            encoder = SequenceEncoder(processing_class, args.max_length, args.extra_end_token)
            data_collator = PreferenceCollator(encoder, self._sides)
        self._collate = data_collator
        self.layout = load_layout(args.prefix_sharing, args.vision_cache)
        self._reference_layout = load_layout(args.prefix_sharing, args.vision_cache)
        self._mean_rows: float | None = None  # of batches grouped by picture
        super().__init__(
            model=model,
            ref_model=ref_model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
        )
        if args.freeze_vision:
            for frozen in filter(None, (self.model, self.ref_model)):
                freeze_vision(frozen)
        if args.compile_layers:
            compile_layers(cast(nn.Module, self.model))
        if args.keep_activations:
            self.add_callback(_KeepActivations(args.keep_activations))
        if getattr(self, "aux_loss_enabled", False):
            logger.warning(
                "The model routes tokens to experts; its load-balancing loss is not added to ours."
            )

    # What DPOTrainer does for data without pictures (cached reference log-probabilities, data sets
    # handed to `evaluate`) is right for ours, since our collator takes care of the pictures.
    @property
    def _is_vision_dataset(self) -> bool:
        return False

    @_is_vision_dataset.setter
    def _is_vision_dataset(self, value: bool) -> None:
        pass

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            prompts = [f"prompt{side}" for side in self._sides]
            read: Any = ["images", "image", *prompts, *columns(self._sides), *_OPTIONAL]
            self._signature_columns = read

    def _prepare_dataset(
        self,
        dataset: Dataset | IterableDataset,
        processing_class: Any,
        args: Any,
        dataset_name: str,
    ) -> Dataset | IterableDataset:
        """The data set as it is: rows are encoded by the collator.

        Cached reference log-probabilities are found by the data set's fingerprint, so with them
        the fingerprint takes in what encodes the rows, as tokenizing a text data set would.
        """
        if not args.precompute_ref_log_probs or not isinstance(dataset, Dataset):
            return dataset
        parts = (dataset._fingerprint, self._identity(dataset), args.bf16, args.fp16)
        encoded = copy.copy(dataset)
        encoded._fingerprint = Hasher.hash(parts)
        encoded._get_cache_file_path = partial(cache_file, dataset)
        return encoded

    def _identity(self, dataset: Dataset) -> str:
        if isinstance(self._collate, PreferenceCollator):
            return self._collate.identity(dataset)
        return str(Hasher.hash(self._collate([dataset[0]])))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of rows; with `prefix_sharing="image"` the rows of one picture together."""
        args = cast(PrefixDPOConfig, self.args)
        if args.prefix_sharing != "image":
            return super().get_train_dataloader()
        dataset = self.train_dataset
        if not isinstance(dataset, Dataset):
            raise TrainerSetupError(
                'prefix_sharing="image" looks at all rows before it groups them, which a stream '
                'does not allow. Use a map-style dataset, or prefix_sharing="row".'
            )
        with args.main_process_first():
            batches = picture_batches(
                dataset,
                self._collate,
                rows_per_batch=self._train_batch_size,
                max_tokens=args.max_batch_tokens,
                processes=args.world_size,
                seed=args.seed if args.data_seed is None else args.data_seed,
                workers=args.dataset_num_proc,
            )
        self._mean_rows = batches.mean_rows
        loader: DataLoader[Any] = DataLoader(
            self._remove_unused_columns(dataset, description="training"),
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
        )
        return cast(DataLoader[Any], self.accelerator.prepare(loader))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean loss of the rows; with `return_outputs` also their rewards, a row a row."""
        log_probs = self._log_probs(model, inputs)
        if "reference" in inputs:
            reference = inputs["reference"].to(log_probs.dtype)
        else:
            model_of_reference: Any = self.model if self.ref_model is None else self.ref_model
            chosen, rejected = self.compute_ref_log_probs(model_of_reference, inputs)
            reference = torch.stack([chosen, rejected], dim=2)
        loss_of_rows = LOSSES[cast(PrefixDPOConfig, self.args).loss_type[0]]
        rows = loss_of_rows(log_probs - reference, self.beta)
        # Batches grouped by picture differ in size; divided by the same number, every row counts
        # the same over an epoch.
        grouped = self._mean_rows if model.training else None
        loss = rows.mean() if grouped is None else rows.sum() / grouped
        with torch.no_grad():
            self._record(inputs, row_metrics(log_probs, reference, self.beta, self._sides))
            rewards = self.beta * (log_probs - reference).flatten(1)
        return (loss, {"rewards": rewards}) if return_outputs else loss

    def compute_ref_log_probs(
        self, model: nn.Module, inputs: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities under the reference: chosen and rejected, each `(rows, sides)`."""
        with torch.no_grad(), self._as_reference(), self.accelerator.autocast():
            chosen, rejected = self._log_probs(model, inputs).unbind(dim=2)
        return chosen, rejected

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Loss of an evaluation batch, and for `compute_metrics` its rewards and which to raise."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        rewards = outputs["rewards"]
        is_chosen = torch.tensor([1, 0] * len(self._sides), device=rewards.device)
        return loss, rewards, is_chosen.expand_as(rewards)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        policy: Any = self.model
        tokens: Any = torch.cat(inputs["sequences"].input_ids)
        return int(super().floating_point_ops({policy.main_input_name: tokens}))

    def _log_probs(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Summed log-probability of each completion: `(rows, sides, 2)`, side, then choice."""
        is_reference = self.ref_model is not None and model is self.ref_model
        layout = self._reference_layout if is_reference else self.layout
        return layout(model, inputs["sequences"]).view(-1, len(self._sides), len(CHOICES))

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        """The policy's adapters off (or its frozen "ref" adapter on) where it is the reference."""
        if self.ref_model is not None or not is_peft_model(self.model):
            yield
            return
        policy = self.accelerator.unwrap_model(self.model)
        with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
            yield

    def _record(self, inputs: dict[str, Any], metrics: dict[str, Tensor]) -> None:
        """Keep what is logged of each row of a batch, on every process."""
        tokens = inputs["completion_tokens"].flatten(1).sum(dim=1)
        mode = "train" if cast(nn.Module, self.model).training else "eval"
        table = torch.stack([tokens.float(), *(each.float() for each in metrics.values())], dim=1)
        if mode == "train":
            # Processes may hold different numbers of rows.
            table = self.accelerator.pad_across_processes(table, pad_index=float("nan"))
            table = self.accelerator.gather(table)
            table = table[~table.isnan().all(dim=1)]
        else:
            table = self.accelerator.gather_for_metrics(table)
        # One entry a row: `log` averages them, so that a smaller last batch does not count more.
        for name, column in zip(("completion_tokens", *metrics), table.T.tolist(), strict=True):
            self._metrics[mode][name].extend(column)
