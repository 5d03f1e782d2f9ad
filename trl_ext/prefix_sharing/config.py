"""Options of the trainers that share prefixes, and the checks of a trainer's arguments."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, cast

import torch
from accelerate.utils import is_peft_model
from packaging.version import Version
from trl.trainer.dpo_config import DPOConfig

from trl_ext import nca_priv
from trl_ext.nca_priv.nca_priv_config import BATCH_OPTIONS, LOSS_OPTIONS, refuse_options
from trl_ext.prefix_sharing.errors import TrainerSetupError
from trl_ext.prefix_sharing.inner_model import unwrapped

logger = logging.getLogger(__name__)

PREFIX_SHARING = ("auto", "off", "row", "image")


@dataclass
class PrefixSharingConfig:
    r"""
    Options of the trainers that compute shared prefixes once, to be mixed into a config of TRL.

    Parameters:
        prefix_sharing (`str`, *optional*, defaults to `"auto"`):
            How the sequences of a row go through the model; each way gives the same numbers.
            `"off"` runs them as a plain padded batch. `"row"` computes each distinct prefix and
            picture of a batch once. `"image"` also puts the rows of one picture into one batch.
            `"auto"` takes the fastest that the model's family supports without changing batches.
        max_batch_tokens (`int`, *optional*):
            With `prefix_sharing="image"`, the most tokens of a device's packed batch. Without it
            batches hold `per_device_train_batch_size` rows on average. With it they are as
            large as the limit allows, and never more rows of one picture than that.
        rows_per_step (`int`, *optional*):
            With `prefix_sharing="image"`, rows of an optimizer step on average, over all devices
            and accumulation steps: sets `gradient_accumulation_steps`. Batches of a device then
            hold as many rows as `max_batch_tokens` allows, up to 8 without it.
        freeze_vision (`bool`, *optional*, defaults to `False`):
            Leave all that is not the language model as it is. (The paper trains it.)
        vision_cache (`str`, *optional*):
            Folder in which the frozen tower's features of each picture are kept for all epochs
            and runs. Needs `freeze_vision` and prefix sharing.
        compile_layers (`bool`, *optional*, defaults to `False`):
            Compile each layer of the policy by `torch.compile`; pays on long runs on a GPU.
        keep_activations (`int`, *optional*, defaults to `0`):
            With gradient checkpointing, the number of last text layers whose activations are kept
            nevertheless; faster, as far as memory allows.
        extra_end_token (`bool`, *optional*, defaults to `False`):
            Append the end-of-sequence token to every completion, after the chat template has ended
            the turn. The official code trains on this second end token; use it to repeat its runs,
            or with a chat template that does not end a turn.
    """

    prefix_sharing: str = field(
        default="auto",
        metadata={
            "help": "How the four sequences of a row go through the model, with the same numbers: "
            "`'off'` as a plain padded batch, `'row'` with each distinct prefix and picture of a "
            "batch computed once, `'image'` with the rows of one picture in one batch besides, "
            "`'auto'` the fastest that the model supports without changing batches.",
            "choices": list(PREFIX_SHARING),
        },
    )
    max_batch_tokens: int | None = field(
        default=None,
        metadata={
            "help": "With `prefix_sharing='image'`, the most tokens of a device's packed batch. "
            "Without it batches hold `per_device_train_batch_size` rows on average."
        },
    )
    rows_per_step: int | None = field(
        default=None,
        metadata={
            "help": "With `prefix_sharing='image'`, rows of an optimizer step on average, over all "
            "devices and accumulation steps; sets `gradient_accumulation_steps`."
        },
    )
    freeze_vision: bool = field(
        default=False,
        metadata={"help": "Leave all that is not the language model as it is."},
    )
    vision_cache: str | None = field(
        default=None,
        metadata={
            "help": "Folder in which a frozen tower's features of each picture are kept for all "
            "epochs and runs. Needs `freeze_vision` and prefix sharing."
        },
    )
    compile_layers: bool = field(
        default=False,
        metadata={"help": "Compile each layer of the policy; pays on long runs on a GPU."},
    )
    keep_activations: int = field(
        default=0,
        metadata={
            "help": "With gradient checkpointing, the number of last text layers whose activations "
            "are kept nevertheless; faster, as far as memory allows."
        },
    )
    extra_end_token: bool = field(
        default=False,
        metadata={
            "help": "Append the end-of-sequence token to every completion after the chat template "
            "has ended the turn, as the official code does."
        },
    )

    def __post_init__(self) -> None:
        args = cast(Any, self)
        # TRL switches bf16 on by default, which transformers then refuses where there is no GPU.
        if args.bf16 is None and not (args.fp16 or args.use_cpu) and not _has_accelerator():
            logger.warning("no GPU was found: training runs in float32 on the CPU (bf16 is off)")
            args.bf16, args.use_cpu = False, True  # without it, processes would run on their own
        try:
            super().__post_init__()  # type: ignore[misc]
        except ValueError as error:
            raise TrainerSetupError(str(error)) from error
        if args.router_aux_loss_coef not in (None, 0.0, DPOConfig.router_aux_loss_coef):
            raise TrainerSetupError(
                "router_aux_loss_coef is not supported: the loss is computed from "
                "log-probabilities, without the router's logits. Leave it out."
            )
        if args.sync_ref_model and args.precompute_ref_log_probs:
            raise TrainerSetupError(
                "precompute_ref_log_probs computes the reference once, which sync_ref_model keeps "
                "changing. Leave one of them out."
            )
        if args.use_liger_kernel and Version(version("trl")) < Version("1.15"):
            raise TrainerSetupError(
                f"use_liger_kernel with TRL {version('trl')} would bring its fused DPO loss along. "
                "Upgrade to trl>=1.15, where it means the layers' kernels alone."
            )
        self._check_sharing()

    def _check_sharing(self) -> None:
        if self.prefix_sharing not in PREFIX_SHARING:
            raise TrainerSetupError(
                f"prefix_sharing={self.prefix_sharing!r} is unknown. "
                f"Choose one of {', '.join(PREFIX_SHARING)}."
            )
        for name in ("max_batch_tokens", "rows_per_step"):
            value = getattr(self, name)
            if value is not None and self.prefix_sharing != "image":
                raise TrainerSetupError(
                    f"{name} is for batches that are grouped by picture. "
                    'Set prefix_sharing="image", or leave it out.'
                )
            if value is not None and value < 1:
                raise TrainerSetupError(f"{name}={value} must be at least 1.")
        if self.keep_activations and not cast(Any, self).gradient_checkpointing:
            raise TrainerSetupError(
                "keep_activations exempts layers from gradient checkpointing, which is off: every "
                "activation is kept as it is. Leave it out."
            )
        if self.vision_cache and not (self.freeze_vision and self.prefix_sharing != "off"):
            raise TrainerSetupError(
                "vision_cache keeps the features of a frozen vision tower for packed batches. "
                'Set freeze_vision=True and leave prefix_sharing="off" out.'
            )


def _has_accelerator() -> bool:
    return torch.accelerator.current_accelerator(check_available=True) is not None


@dataclass
class PrefixDPOConfig(PrefixSharingConfig, DPOConfig):
    r"""
    Configuration of [`PrefixDPOTrainer`]: that of [`~trl.DPOConfig`] with the losses `"sigmoid"`
    (DPO) and `"nca_pair"` (NCA), and that of [`PrefixSharingConfig`].

    > [!NOTE]
    > `max_length` defaults to `None` instead of `1024`, so that nothing is cut. With a limit only
    > completions are ever cut, at their end.
    """

    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum length of the tokenized sequence. Longer completions are cut at their "
            "end; a prompt that leaves no room for one is an error, because cutting it could cut "
            "image tokens. If `None`, nothing is cut."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.loss_type) != 1 or self.loss_type[0] not in ("sigmoid", "nca_pair"):
            raise TrainerSetupError(
                f"loss_type={self.loss_type!r} is not for this trainer. It has one loss at a time, "
                "of sigmoid, nca_pair; trl.DPOTrainer has the others."
            )
        if not self.beta > 0:
            raise TrainerSetupError(f"beta={self.beta} must be above 0.")
        try:
            refuse_options(self, LOSS_OPTIONS | BATCH_OPTIONS)
        except ValueError as error:
            raise TrainerSetupError(str(error)) from error


@dataclass
class NCAPrivConfig(PrefixSharingConfig, nca_priv.NCAPrivConfig):
    r"""
    Configuration of the [`NCAPrivTrainer`] that shares prefixes: the paper's setting, and the
    options of [`PrefixSharingConfig`].
    """


def check_arguments(
    args: Any, name: str, ref_model: Any, model: Any, peft_config: Any, wanted: type[Any]
) -> None:
    """Refuse arguments of the trainer that would fail later, or without saying why."""
    if not isinstance(args, wanted):
        raise TrainerSetupError(
            f"args is a {type(args).__name__}, whose options differ. Pass a {wanted.__name__}."
        )
    if cast(Any, args.accelerator_config).dispatch_batches:
        raise TrainerSetupError(
            "dispatch_batches=True cuts tensors into one slice per process, and sequences of "
            "different length do not form a tensor. Leave it out."
        )
    loaded = isinstance(model, str) or bool(name)
    adapters = peft_config is not None or (not loaded and is_peft_model(model))
    if not (loaded or adapters or ref_model is not None or args.precompute_ref_log_probs):
        raise TrainerSetupError(
            "the model was built in memory, so there is nowhere to load the reference from. Pass "
            "ref_model=copy.deepcopy(model), or set precompute_ref_log_probs=True."
        )


UNSUPPORTED_FAMILIES = {
    "mllama": "its pictures go through cross-attention, with masks of its own",
    "paligemma": "its prompts are attended to in both directions",
}
"""Families (`model_type`) that neither layout takes, and why."""


def refuse_family(model: Any) -> None:
    """Refuse models and adapters whose numbers would be wrong.

    Raises:
        TrainerSetupError: says which, why, and what to use.
    """
    peft_configs = getattr(model, "peft_config", None) or {}
    if any(getattr(each, "is_prompt_learning", False) for each in peft_configs.values()):
        raise TrainerSetupError(
            "prompt and prefix tuning put tokens of their own before every sequence, which the "
            "layouts do not know of. Use LoRA, or trl.DPOTrainer."
        )
    family = str(cast(Any, unwrapped(model)).config.model_type)
    if family in UNSUPPORTED_FAMILIES:
        raise TrainerSetupError(
            f"models of the family {family} are not supported: {UNSUPPORTED_FAMILIES[family]}. "
            "Use trl.DPOTrainer, or another model."
        )
