"""Options of the trainers: DPO's, without those that mean nothing to us, and prefix sharing."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, cast

from accelerate.utils import is_peft_model
from packaging.version import Version
from trl.trainer.dpo_config import DPOConfig

from spy_plugin.errors import SpyBenchError

PREFIX_SHARING = ("auto", "off", "row", "image")


class TrainerSetupError(SpyBenchError, ValueError):
    """An option of the trainer that cannot work, or not with the others."""


# Options of DPOConfig without a use here: the value that means "not set", and the reason.
# Those that the installed TRL does not have are passed over.
_NOT_OURS: dict[str, tuple[Any, str]] = {
    "loss_weights": (None, "there is one loss to weigh"),
    "label_smoothing": (0.0, "no loss here has a term for flipped preference labels"),
    "f_divergence_type": (
        "reverse_kl",
        "NCA rewards each answer by itself, where no other divergence has a valid form",
    ),
    "f_alpha_divergence_coef": (0.5, "it belongs to f_divergence_type"),
    "discopop_tau": (0.05, "it belongs to the DiscoPOP loss"),
    "ld_alpha": (None, "a layout gives sums over whole completions, not their parts"),
    "use_weighting": (
        False,
        "a layout gives sums over completions, not the token statistics that WPO weighs by",
    ),
    "padding_free": (False, "the layout decides how sequences are packed: see prefix_sharing"),
    "truncation_mode": (
        "keep_start",
        "cutting a sequence's start would cut its pictures; only completions are ever cut",
    ),
}


@dataclass
class PrefixDPOConfig(DPOConfig):
    r"""
    Configuration of [`PrefixDPOTrainer`]: that of [`~trl.DPOConfig`], with the losses `"sigmoid"`
    (DPO) and `"nca_pair"` (NCA), and with what can be shared between sequences.

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
        freeze_vision (`bool`, *optional*, defaults to `False`):
            Leave the vision tower and its projection as they are. (The paper trains them.)
        vision_cache (`str`, *optional*):
            Folder in which the frozen tower's features of each picture are kept for all epochs
            and runs. Needs `freeze_vision` and prefix sharing.
        compile_layers (`bool`, *optional*, defaults to `False`):
            Compile each layer of the policy by `torch.compile`; pays on long runs on a GPU.
        keep_activations (`int`, *optional*, defaults to `0`):
            With gradient checkpointing, the number of last text layers whose activations are kept
            nevertheless; faster, as far as memory goes.
        extra_end_token (`bool`, *optional*, defaults to `False`):
            Append the end-of-sequence token to every completion, after the chat template has ended
            the turn. The official code trains on this second end token; use it to repeat its runs,
            or with a chat template that does not end a turn.

    > [!NOTE]
    > `max_length` defaults to `None` instead of `1024`, so that nothing is cut. With a limit only
    > completions are ever cut, at their end.
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("sigmoid", "nca_pair")

    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum length of the tokenized sequence. Longer completions are cut at their "
            "end; a prompt that leaves no room for one is an error, because cutting it could cut "
            "image tokens. If `None`, nothing is cut."
        },
    )
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
    freeze_vision: bool = field(
        default=False,
        metadata={"help": "Leave the vision tower and its projection as they are."},
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
            "are kept nevertheless; faster, as far as memory goes."
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
        if getattr(self, "pad_to_multiple_of", None) not in (None, "auto"):
            raise TrainerSetupError(
                f"pad_to_multiple_of={self.pad_to_multiple_of} has no effect: the layout decides "
                "how sequences are padded, see prefix_sharing. Leave it out."
            )
        super().__post_init__()  # type: ignore[no-untyped-call]
        if len(self.loss_type) != 1 or self.loss_type[0] not in self.LOSSES:
            raise TrainerSetupError(
                f"loss_type={self.loss_type!r} is not for this trainer. It has one loss at a time, "
                f"of {', '.join(self.LOSSES)}; trl.DPOTrainer has the others."
            )
        for name, (unset, reason) in _NOT_OURS.items():
            value = getattr(self, name, unset)
            if value != unset:
                raise TrainerSetupError(f"{name}={value!r} has no effect: {reason}. Leave it out.")
        if self.router_aux_loss_coef not in (None, 0.0, DPOConfig.router_aux_loss_coef):
            raise TrainerSetupError(
                "router_aux_loss_coef is not supported: the loss is computed from "
                "log-probabilities, without the router's logits. Leave it out."
            )
        if self.use_liger_kernel and Version(version("trl")) < Version("1.15"):
            raise TrainerSetupError(
                f"use_liger_kernel with TRL {version('trl')} would bring its fused DPO loss along. "
                "Upgrade to trl>=1.15, where it means the layers' kernels alone."
            )
        if not self.beta > 0:
            raise TrainerSetupError(f"beta={self.beta} must be above 0. The paper uses 0.01.")
        if self.prefix_sharing not in PREFIX_SHARING:
            raise TrainerSetupError(
                f"prefix_sharing={self.prefix_sharing!r} is unknown. "
                f"Choose one of {', '.join(PREFIX_SHARING)}."
            )
        if self.max_batch_tokens is not None and self.prefix_sharing != "image":
            raise TrainerSetupError(
                "max_batch_tokens limits batches that are grouped by picture. "
                'Set prefix_sharing="image", or leave it out.'
            )
        if self.keep_activations and not self.gradient_checkpointing:
            raise TrainerSetupError(
                "keep_activations exempts layers from gradient checkpointing, which is off: every "
                "activation is kept as it is. Leave it out."
            )
        if self.vision_cache and not (self.freeze_vision and self.prefix_sharing != "off"):
            raise TrainerSetupError(
                "vision_cache keeps the features of a frozen vision tower for packed batches. "
                'Set freeze_vision=True and leave prefix_sharing="off" out.'
            )


@dataclass
class NCAPrivConfig(PrefixDPOConfig):
    r"""
    Configuration of [`NCAPrivTrainer`]: that of [`PrefixDPOConfig`] with the paper's setting as
    defaults (its batch is 32 rows over all devices and accumulation steps).

    > [!NOTE]
    > These parameters have default values different from [`PrefixDPOConfig`]:
    > - `beta`: Defaults to `0.01` instead of `0.1`.
    > - `learning_rate`: Defaults to `3e-6` instead of `1e-6`.
    > - `lr_scheduler_type`: Defaults to `"cosine"` instead of `"linear"`.
    > - `warmup_steps`: Defaults to `0.1` (a tenth of all steps) instead of `0`.
    > - `weight_decay`: Defaults to `0.05` instead of `0.0`.
    > - `loss_type`: Is `["nca_priv"]`, the only one.
    """

    LOSSES: ClassVar[tuple[str, ...]] = ("nca_priv",)

    learning_rate: float = field(
        default=3e-6, metadata={"help": "The initial learning rate for AdamW."}
    )
    lr_scheduler_type: str = field(
        default="cosine", metadata={"help": "The scheduler type to use."}
    )
    warmup_steps: float = field(
        default=0.1,
        metadata={"help": "Steps of linear warmup; below 1, their share of all steps."},
    )
    weight_decay: float = field(
        default=0.05, metadata={"help": "Weight decay of AdamW, where it applies."}
    )
    beta: float = field(
        default=0.01,
        metadata={
            "help": "How much a log-ratio between policy and reference counts as reward. Higher "
            "keeps the policy closer to the reference."
        },
    )
    loss_type: list[str] = field(
        default_factory=lambda: ["nca_priv"],
        metadata={"help": "Only `'nca_priv'`: the trainer has no other loss."},
    )


def check_arguments(
    args: Any,
    name: str,
    ref_model: Any,
    model: Any,
    peft_config: Any,
    wanted: type[PrefixDPOConfig],
) -> None:
    """Refuse arguments of the trainer that would fail later, or without saying why."""
    if not isinstance(args, wanted):
        raise TrainerSetupError(
            f"args is a {type(args).__name__}, whose options differ. Pass a {wanted.__name__}."
        )
    if cast(Any, args.accelerator_config).dispatch_batches:
        raise TrainerSetupError(
            "dispatch_batches=True cuts tensors into one slice a process, and sequences of "
            "different length are no tensor. Leave it out."
        )
    loaded = isinstance(model, str) or bool(name)
    adapters = peft_config is not None or (not loaded and is_peft_model(model))
    if not (loaded or adapters or ref_model is not None or args.precompute_ref_log_probs):
        raise TrainerSetupError(
            "the model was built in memory, so there is nowhere to load the reference from. Pass "
            "ref_model (a copy of the model), or set precompute_ref_log_probs=True."
        )
