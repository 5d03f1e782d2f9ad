"""Every name of TRL that is not its public interface and that we touch, in one place.

TRL renames such names without notice. `moved_names` says which of them the installed TRL does not
have as we use them; the trainer asks it first, so that a new TRL gives one clear message instead
of a wrong number or a deep traceback. Tried with TRL 1.10 to 1.16.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

METHODS = {
    # overridden, or called on super()
    "_prepare_dataset": ("dataset", "processing_class", "args", "dataset_name"),
    "_set_signature_columns_if_needed": (),
    "_precompute_ref_logps": ("dataset", "name", "batch_size"),
    "compute_ref_log_probs": ("model", "inputs"),
    "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
    "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
    "create_model_card": ("model_name", "dataset_name", "tags"),
}
"""Methods of `DPOTrainer` and their parameters after `self`."""

CONSTRUCTOR = (
    "model",
    "ref_model",
    "args",
    "data_collator",
    "train_dataset",
    "eval_dataset",
    "processing_class",
    "compute_metrics",
    "callbacks",
    "optimizers",
    "quantization_config",
    "peft_config",
)
"""Parameters of `DPOTrainer`, which ours repeats."""

CLASS_ATTRIBUTES = ("_tag_names", "_name", "_paper")

USES = {
    # name: how DPOTrainer's source reads where it does with it what we rely on
    "_is_vision_dataset": r"self\._is_vision_dataset = ",
    "_metrics": r"self\._metrics = \{\"train\": defaultdict\(list\)",
    "beta": r"self\.beta = args\.beta",
    "ref_model": r"self\.ref_model = ",
    "ref_chosen_logps": r"\"ref_chosen_logps\": ref_chosen_logps\[indices\]",
    "ref_rejected_logps": r"\"ref_rejected_logps\": ref_rejected_logps\[indices\]",
    '"ref" adapter': r"model\.add_adapter\(\"ref\"",
    "self.compute_ref_log_probs(model, batch)": r"self\.compute_ref_log_probs\(model, ",
    "dataset._fingerprint": r"Hasher\.hash\(\(dataset\._fingerprint",
    "dataset._get_cache_file_path": r"dataset\._get_cache_file_path\(fingerprint\)",
}
"""Instance attributes and habits of `DPOTrainer`, found in its source."""

FUNCTIONS = {
    "trl.trainer.utils:use_adapter": ("model", "adapter_name"),
    "trl.data_utils:apply_chat_template": ("example", "processing_class", "tools"),
    "trl.data_utils:prepare_multimodal_messages": ("messages", "images"),
}
"""Functions and their first parameters."""


def moved_names() -> list[str]:
    """What the installed TRL does not have, or has with other parameters; empty if all is well."""
    trainer: Any = import_module("trl.trainer.dpo_trainer").DPOTrainer
    source = inspect.getsource(trainer)
    moved = [
        f"DPOTrainer.{name}"
        for name, wanted in {**METHODS, "__init__": CONSTRUCTOR}.items()
        if _parameters(getattr(trainer, name, None))[1:] != wanted
    ]
    moved += [f"DPOTrainer.{name}" for name in CLASS_ATTRIBUTES if not hasattr(trainer, name)]
    moved += [
        f"{name} in DPOTrainer" for name, pattern in USES.items() if not re.search(pattern, source)
    ]
    for target, wanted in FUNCTIONS.items():
        module, name = target.split(":")
        found = _parameters(getattr(import_module(module), name, None))
        if found[: len(wanted)] != wanted:
            moved.append(target.replace(":", "."))
    return moved


def _parameters(function: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters) if callable(function) else ()
