"""`PrefixDPOTrainer`: DPO and NCA on shared prefixes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from accelerate.utils import is_peft_model
from torch import Tensor, nn
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import use_adapter

from trl_ext.nca_priv.nca_priv_trainer import CHOICES
from trl_ext.prefix_sharing.config import PrefixDPOConfig
from trl_ext.prefix_sharing.trainer import PrefixSharingMixin


class _PairTrainer(DPOTrainer):
    """DPO and NCA on the log-probabilities of whole completions, `(rows, 1, 2)`."""

    def compute_ref_log_probs(
        self, model: nn.Module, inputs: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Compute the log-probabilities of the reference: chosen, rejected, each `(rows, 1)`."""
        adapter_context: Any = nullcontext()
        if self.ref_model is None and is_peft_model(self.model):
            policy = self.accelerator.unwrap_model(self.model)
            adapter_context = use_adapter(policy, "ref" if "ref" in policy.peft_config else None)
        with torch.no_grad(), adapter_context, self.accelerator.autocast():
            chosen, rejected = self.completion_logps(model, inputs).unbind(dim=2)
        return chosen, rejected

    def completion_logps(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        raise NotImplementedError

    def _append_metrics(self, metrics: dict[str, Tensor]) -> None:
        raise NotImplementedError

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute the mean loss; with `return_outputs` also `{"rewards": (rows, 2)}`."""
        logps = self.completion_logps(model, inputs)
        if "ref_chosen_logps" in inputs:
            references = (inputs["ref_chosen_logps"], inputs["ref_rejected_logps"])
        else:
            reference: Any = self.ref_model or self.model
            references = self.compute_ref_log_probs(reference, inputs)
        rewards = self.beta * (logps - torch.stack(references, dim=2).to(logps.dtype)).squeeze(1)
        chosen, rejected = rewards.unbind(dim=1)
        if self.loss_types == ["sigmoid"]:  # DPO, arXiv 2305.18290
            loss = -F.logsigmoid(chosen - rejected)
        else:  # pairwise NCA, arXiv 2402.05369
            loss = -F.logsigmoid(chosen) - 0.5 * (F.logsigmoid(-chosen) + F.logsigmoid(-rejected))
        loss = loss.mean()

        rewards = rewards.detach()
        margins = rewards[:, 0] - rewards[:, 1]
        metrics = {"rewards/margins": margins, "rewards/accuracies": (margins > 0).float()}
        for index, choice in enumerate(CHOICES):
            metrics[f"rewards/{choice}"] = rewards[:, index]
            metrics[f"logps/{choice}"] = logps.detach()[:, 0, index]
        self._append_metrics(metrics)
        return (loss, {"rewards": rewards}) if return_outputs else loss

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute the loss of an evaluation batch, and rewards and labels for `compute_metrics`."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        rewards = outputs["rewards"]
        return loss, rewards, torch.tensor([1, 0], device=rewards.device).expand_as(rewards)


class PrefixDPOTrainer(PrefixSharingMixin, _PairTrainer):
    """
    Trainer for DPO and NCA on conversations with pictures: TRL's, with the same numbers, but with
    prefixes and pictures that a batch shares computed once.

    It takes the arguments of [`~trl.DPOTrainer`] and does with them what that trainer does, with
    these differences:

    - `precompute_ref_log_probs` works with pictures.
    - `compute_metrics` receives, per row, the implicit rewards of its answers as `predictions` and
      1 for a chosen, 0 for a rejected answer as `label_ids`.
    - Metrics of single tokens (entropy, mean logits, token accuracy) are not logged.
    """

    _sides = ("",)
    _config_class = PrefixDPOConfig
