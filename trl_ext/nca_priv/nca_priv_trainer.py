"""The trainer of NCA-P, and the collator of its rows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from accelerate.utils import gather_object, is_peft_model
from datasets import Dataset, IterableDataset
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    TrainerCallback,
)
from transformers.data.data_collator import DataCollatorMixin
from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import flush_left, selective_log_softmax, use_adapter

from trl_ext.nca_priv.nca_priv_config import NCAPrivConfig

SIDES = ("_0", "_1")
"""Suffixes of a row's columns: side 0 says that the user does not call something private, side 1
that they do."""
CHOICES = ("chosen", "rejected")


@dataclass
class DataCollatorForNCAPriv(DataCollatorMixin):
    """
    Data collator for rows with two prompts about the same pictures and two answers to each.

    Each example has `images` (a list), `image` (one) or neither, and `prompt_0`, `prompt_1`,
    `chosen_0`, `chosen_1`, `rejected_0` and `rejected_1` as lists of messages. The batch holds
    every sequence of every row: first all `chosen_0`, then `chosen_1`, `rejected_0` and
    `rejected_1`.

    The collator outputs a dictionary including:
    - `"input_ids"` and `"attention_mask"`: prompts and completions, padded on the right;
    - `"completion_mask"`: which tokens belong to completions;
    - `"ref_chosen_logps"` and `"ref_rejected_logps"`: of shape `(rows, 2)`, if the rows have them;
    - what else the processor returns: `"pixel_values"`, `"image_grid_thw"`, ...

    Args:
        processor ([`~transformers.ProcessorMixin`] or [`~transformers.PreTrainedTokenizerBase`]):
            Tokenizes texts and prepares pictures.
        max_length (`int`, *optional*):
            Longest sequence in tokens. Longer completions are cut at their end.
    """

    processor: ProcessorMixin | PreTrainedTokenizerBase
    max_length: int | None = None
    return_tensors: str = "pt"

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        images, prompts, completions = [], [], []
        for choice in CHOICES:
            for side in SIDES:
                for example in examples:
                    one = example.get("image")
                    pictures = example.get("images") or ([] if one is None else [one])
                    texts = self._texts(
                        example[f"prompt{side}"], example[f"{choice}{side}"], pictures
                    )
                    images.append(pictures)
                    prompts.append(texts["prompt"])
                    completions.append(texts["completion"])
        # The chat template has written the special tokens.
        options = {"add_special_tokens": False, "return_tensors": "pt"}
        options |= {"padding": True, "padding_side": "left"}
        shown = {"images": images} if any(images) else {}
        output = dict(self.processor(text=prompts, **shown, **options))
        tokenizer: Any = getattr(self.processor, "tokenizer", self.processor)
        answers = tokenizer(completions, add_special_tokens=False)["input_ids"]
        answers = [torch.tensor(ids, dtype=torch.long) for ids in answers]
        answer_ids = pad_sequence(answers, batch_first=True, padding_value=tokenizer.pad_token_id)
        answer_mask = pad_sequence([torch.ones_like(ids) for ids in answers], batch_first=True)

        prompt_mask = output["attention_mask"]
        masks = {
            "attention_mask": torch.cat([prompt_mask, answer_mask], dim=1),
            "input_ids": torch.cat([output["input_ids"], answer_ids], dim=1),
            "completion_mask": torch.cat([torch.zeros_like(prompt_mask), answer_mask], dim=1),
        }
        for name in [name for name in output if name.endswith("token_type_ids")]:
            masks[name] = torch.cat([output[name], torch.zeros_like(answer_ids)], dim=1)
        flushed = flush_left(*masks.values())
        output |= {
            name: value[:, : self.max_length] for name, value in zip(masks, flushed, strict=True)
        }
        if not output["completion_mask"].any(dim=1).all():
            raise ValueError(
                f"A prompt leaves no room for its completion within `max_length={self.max_length}` "
                "tokens. Raise `max_length` or set it to `None`."
            )
        for name in [f"ref_{choice}_logps" for choice in CHOICES]:
            if name in examples[0]:
                output[name] = torch.tensor([example[name] for example in examples])
        return output

    def _texts(self, prompt: list[Any], completion: list[Any], images: list[Any]) -> dict[str, str]:
        """Write prompt and completion by the chat template."""
        messages = {"prompt": prompt, "completion": completion}
        if isinstance(self.processor, ProcessorMixin):
            messages = {
                "prompt": prepare_multimodal_messages(prompt, images=images),
                "completion": prepare_multimodal_messages(completion),
            }
        return apply_chat_template(messages, self.processor)


class NCAPrivTrainer(DPOTrainer):
    """
    Trainer for NCA-P, the noise contrastive alignment of the paper [Specify Privacy
    Yourself](https://openreview.net/forum?id=FIsUuW7zPq): each row holds one question about one
    picture under two instructions, one that calls something private and one that does not, with
    a chosen and a rejected answer to each.

    It takes the arguments of [`~trl.DPOTrainer`] and does with them what that trainer does, with
    these differences:

    - Rows have `images` (none, one or several), `prompt_0`, `prompt_1`, `chosen_0`, `chosen_1`,
      `rejected_0` and `rejected_1`, in TRL's conversational format.
    - `compute_metrics` receives, per row, the four implicit rewards as `predictions` (in the
      order chosen_0, rejected_0, chosen_1, rejected_1) and 1 for a chosen, 0 for a rejected
      answer as `label_ids`.
    - The metrics are those of DPO for each side (`rewards/chosen_0`, `logps/rejected_1`, ...),
      `rewards/accuracies` and `rewards/margins` over both sides, and `rewards/ics`: the share
      of rows where both sides reward the chosen answer more.

    Example:

    ```python
    >>> from trl_ext import NCAPrivTrainer, load_spy_tune

    >>> trainer = NCAPrivTrainer(
    ...     model="Qwen/Qwen2-VL-2B-Instruct",
    ...     train_dataset=load_spy_tune("mini", kind="paired"),
    ... )
    >>> trainer.train()
    ```
    """

    _tag_names = ["trl", "nca-priv", "spy-bench"]  # noqa: RUF012 (as TRL declares it)
    _name = "NCA-P"
    _paper = {  # noqa: RUF012
        "title": "Specify Privacy Yourself: Assessing Inference-Time Personalized Privacy "
        "Preservation Ability of Large Vision-Language Models",
        "citation": textwrap.dedent("""\
            @inproceedings{wang2025specify,
                title     = {{Specify Privacy Yourself: Assessing Inference-Time Personalized Privacy Preservation Ability of Large Vision-Language Models}},
                author    = {Xingqi Wang and Xiaoyuan Yi and Xing Xie and Jia Jia},
                year      = 2025,
                booktitle = {Proceedings of the 33rd ACM International Conference on Multimedia},
            }"""),  # noqa: E501
    }

    def __init__(
        self,
        model: str | PreTrainedModel | Any,
        ref_model: PreTrainedModel | None = None,
        args: NCAPrivConfig | None = None,
        data_collator: Callable[[list[Any]], dict[str, Any]] | None = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: Dataset | IterableDataset | dict[str, Any] | None = None,
        processing_class: ProcessorMixin | PreTrainedTokenizerBase | None = None,
        compute_metrics: Callable[[Any], dict[str, float]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        quantization_config: Any = None,
        peft_config: Any = None,
    ) -> None:
        name = model if isinstance(model, str) else model.config._name_or_path
        if args is None:
            args = NCAPrivConfig(f"{name.split('/')[-1]}-{self._name}")
        if processing_class is None:
            loading = cast(dict[str, Any], args.model_init_kwargs or {})
            processing_class = AutoProcessor.from_pretrained(
                name,
                revision=loading.get("revision") if isinstance(model, str) else None,
                trust_remote_code=args.trust_remote_code,
            )
        if data_collator is None:
            data_collator = DataCollatorForNCAPriv(processing_class, args.max_length)
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

    def _prepare_dataset(
        self, dataset: Dataset | IterableDataset, *args: Any, **kwargs: Any
    ) -> Dataset | IterableDataset:
        return dataset  # the collator tokenizes, whether rows have pictures or not

    def _set_signature_columns_if_needed(self) -> None:
        if self._signature_columns is None:
            completions = [f"{choice}{side}" for choice in CHOICES for side in SIDES]
            prompts = [f"prompt{side}" for side in SIDES]
            references = [f"ref_{choice}_logps" for choice in CHOICES]
            read: Any = ["image", "images", *prompts, *completions, *references]
            self._signature_columns = read

    def completion_logps(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """Compute the summed log-probability of every completion given its prompt and pictures.

        Returns:
            `(rows, sides, choices)`: side 0 or 1, then chosen and rejected; differentiable.
        """
        ours = ("completion_mask", "ref_chosen_logps", "ref_rejected_logps")
        model_inputs = {name: value for name, value in inputs.items() if name not in ours}
        logits: Tensor = model(**model_inputs, use_cache=False).logits[:, :-1]
        # A softmax in bfloat16 would be wrong by more than the rewards differ.
        logits = logits if logits.dtype == torch.float64 else logits.float()
        per_token_logps: Tensor = selective_log_softmax(logits, inputs["input_ids"][:, 1:])
        logps: Tensor = (per_token_logps * inputs["completion_mask"][:, 1:]).sum(dim=1)
        return logps.view(len(CHOICES), len(SIDES), -1).permute(2, 1, 0)

    def compute_ref_log_probs(
        self, model: nn.Module, inputs: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the reference: chosen, rejected, each `(rows, sides)`."""
        adapter_context: Any = nullcontext()
        if self.ref_model is None and is_peft_model(self.model):
            # A new adapter is switched off; one that is trained further has a frozen copy.
            policy = self.accelerator.unwrap_model(self.model)
            adapter_context = use_adapter(policy, "ref" if "ref" in policy.peft_config else None)
        with torch.no_grad(), adapter_context, self.accelerator.autocast():
            chosen, rejected = self.completion_logps(model, inputs).unbind(dim=2)
        return chosen, rejected

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute the mean loss; with `return_outputs` also `{"rewards": (rows, 4)}`."""
        logps = self.completion_logps(model, inputs)
        if "ref_chosen_logps" in inputs:
            references = (inputs["ref_chosen_logps"], inputs["ref_rejected_logps"])
        else:
            reference: Any = self.ref_model or self.model
            references = self.compute_ref_log_probs(reference, inputs)
        ref_logps = torch.stack(references, dim=2).to(logps.dtype)

        rewards = self.beta * (logps - ref_logps)
        loss = nca_priv_loss(rewards).mean()

        self._record_metrics(logps.detach(), rewards.detach())
        return (loss, {"rewards": rewards.detach().flatten(1)}) if return_outputs else loss

    def _record_metrics(self, logps: Tensor, rewards: Tensor) -> None:
        """Keep the metrics of each row of all processes; `log` averages them over rows."""
        margins = rewards[..., 0] - rewards[..., 1]
        accuracies = (margins > 0).to(rewards.dtype)
        metrics = {
            "rewards/margins": margins.mean(dim=1),
            "rewards/accuracies": accuracies.mean(dim=1),
            "rewards/ics": accuracies.prod(dim=1),
        }
        for index, side in enumerate(SIDES):
            for which, choice in enumerate(CHOICES):
                metrics[f"rewards/{choice}{side}"] = rewards[:, index, which]
                metrics[f"logps/{choice}{side}"] = logps[:, index, which]
            metrics[f"rewards/margins{side}"] = margins[:, index]
            metrics[f"rewards/accuracies{side}"] = accuracies[:, index]
        self._append_metrics(metrics)

    def _append_metrics(self, metrics: dict[str, Tensor]) -> None:
        append_metrics(self, metrics)

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
        is_chosen = torch.tensor([1, 0] * len(SIDES), device=rewards.device)
        return loss, rewards, is_chosen.expand_as(rewards)


def nca_priv_loss(rewards: Tensor) -> Tensor:
    """Return the NCA-P loss of each row, `(rows,)`.

    The pairwise NCA loss (arXiv 2402.05369), once for each side of the instruction. With the
    implicit reward r(y) = beta * (log pi(y|x) - log ref(y|x)), side i adds
    -logsigmoid(r(chosen_i)) - 1/2 logsigmoid(-r(chosen_i)) - 1/2 logsigmoid(-r(rejected_i)).

    Args:
        rewards: `(rows, sides, choices)`.
    """
    chosen, rejected = rewards.unbind(dim=2)
    sides = -F.logsigmoid(chosen) - 0.5 * F.logsigmoid(-chosen) - 0.5 * F.logsigmoid(-rejected)
    return sides.sum(dim=1)


def append_metrics(trainer: DPOTrainer, metrics: dict[str, Tensor]) -> None:
    """Keep metrics of shape `(rows,)` for the next `log`, which averages over the rows of all
    processes."""
    mode = "train" if cast(nn.Module, trainer.model).training else "eval"
    rows = torch.stack([each.float() for each in metrics.values()], dim=1)
    if mode == "train":  # processes may hold different numbers of rows
        table = gather_object(rows.tolist())
    else:  # the last batch of an evaluation may repeat rows
        table = trainer.accelerator.gather_for_metrics(rows).tolist()
    for name, column in zip(metrics, zip(*table, strict=True), strict=True):
        trainer._metrics[mode][name].extend(column)
