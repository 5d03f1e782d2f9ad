"""Configuration of [`NCAPrivTrainer`]."""

from __future__ import annotations

from dataclasses import dataclass, field

from trl.trainer.dpo_config import DPOConfig


@dataclass
class NCAPrivConfig(DPOConfig):
    r"""
    Configuration class for the [`NCAPrivTrainer`].

    It takes the parameters of [`~trl.DPOConfig`], of which those that shape DPO's own losses
    (`loss_weights`, `label_smoothing`, `f_divergence_type`, `f_alpha_divergence_coef`,
    `discopop_tau`, `ld_alpha`, `use_weighting`) must keep their defaults, as must `padding_free`,
    `pad_to_multiple_of` and `truncation_mode`.

    > [!NOTE]
    > These parameters have default values different from [`~trl.DPOConfig`], those of the paper
    > (whose batch is 32 rows over all devices and accumulation steps):
    > - `beta`: Defaults to `0.01` instead of `0.1`.
    > - `learning_rate`: Defaults to `3e-6` instead of `1e-6`.
    > - `lr_scheduler_type`: Defaults to `"cosine"` instead of `"linear"`.
    > - `warmup_steps`: Defaults to `0.1` (a tenth of all steps) instead of `0`.
    > - `weight_decay`: Defaults to `0.05` instead of `0.0`.
    > - `loss_type`: Is `["nca_priv"]`, the only one.
    > - `max_length`: Defaults to `None` instead of `1024`: nothing is cut. With a limit only
    >   completions are cut, at their end, because cutting a prompt could cut its pictures.
    """

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
    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum length of the tokenized sequence. Longer completions are cut at their "
            "end; a prompt that leaves no room for one is an error, because cutting it could cut "
            "image tokens. If `None`, nothing is cut."
        },
    )
    loss_type: list[str] = field(
        default_factory=lambda: ["nca_priv"],
        metadata={"help": "Only `'nca_priv'`: the trainer has no other loss."},
    )
    beta: float = field(
        default=0.01,
        metadata={
            "help": "Parameter β of the reward β·log(π/π_ref). Higher β keeps the policy closer to "
            "the reference."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        if self.loss_type != ["nca_priv"]:
            raise ValueError(
                f"`loss_type` is {self.loss_type}, but NCAPrivTrainer has one loss, 'nca_priv'. "
                "Leave it out, or use DPOTrainer for the others."
            )
        if not self.beta > 0:
            raise ValueError(
                f"`beta` must be greater than 0, got {self.beta}. The paper uses 0.01."
            )
        refuse_options(self, LOSS_OPTIONS | BATCH_OPTIONS)


LOSS_OPTIONS = {
    "loss_weights": "there is one loss to weigh",
    "label_smoothing": "no loss of this trainer has a term for flipped preference labels",
    "f_divergence_type": "NCA rewards each answer by itself, where no other divergence has a form",
    "f_alpha_divergence_coef": "it belongs to `f_divergence_type`",
    "discopop_tau": "it belongs to the DiscoPOP loss",
    "ld_alpha": "the loss takes the log-probability of whole completions",
    "use_weighting": "WPO weighs by single tokens, the loss by whole completions",
}
"""Options of [`~trl.DPOConfig`] that would change nothing here, and why."""

BATCH_OPTIONS = {
    "padding_free": "the collator decides how sequences are laid out",
    "pad_to_multiple_of": "the collator decides how sequences are laid out",
    "truncation_mode": "only completions are cut, since cutting a prompt could cut its pictures",
}


def refuse_options(args: DPOConfig, options: dict[str, str]) -> None:
    """Refuse each of `options` that is set to something else than TRL's default.

    Raises:
        ValueError: names the option and the reason why it has no effect.
    """
    fields = DPOConfig.__dataclass_fields__
    for name, reason in options.items():
        value = getattr(args, name, None)
        # `pad_to_multiple_of="auto"` has become None by now; older TRLs lack some of the options.
        if name in fields and value is not None and value != fields[name].default:
            raise ValueError(f"`{name}={value!r}` has no effect: {reason}. Leave it out.")
