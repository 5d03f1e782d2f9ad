"""Resume vision-language models whose checkpoints name weights as the Hub does.

`save_pretrained` writes the weights of Qwen2-VL, LLaVA and others under the names of their first
release, and `from_pretrained` translates them back. `Trainer` reads checkpoints without that
translation and continues from the initial weights, with only a warning
(huggingface/transformers#43701). `WholeCheckpoints`, mixed into any `Trainer`, fixes that.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel, Trainer
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

logger = logging.getLogger(__name__)


class WholeCheckpoints(Trainer):
    """A `Trainer` that finds the weights of its checkpoints whatever names they are saved under.

    Mix it in before a trainer: `class Trainer(WholeCheckpoints, SFTTrainer)`. Checkpoints of FSDP,
    DeepSpeed and PEFT have formats of their own and are left to transformers.
    """

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        if not self._load_renamed(self.model if model is None else model, resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        best: Any = self.state.best_model_checkpoint
        if not self._load_renamed(self.model, best):
            super()._load_best_model()

    def _load_renamed(self, model: Any, checkpoint: str) -> bool:
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        return not sharded and load_renamed_weights(model, Path(checkpoint))


def load_renamed_weights(model: nn.Module, checkpoint: Path) -> bool:
    """Load a checkpoint's weights if they have other names than the model's; False if not.

    Raises:
        RuntimeError: names or shapes differ after the translation, too.
    """
    if not isinstance(model, PreTrainedModel):
        return False
    names = _saved_names(checkpoint)
    if names <= model.state_dict().keys():
        return False
    saved = type(model).from_pretrained(checkpoint, dtype="auto")
    model.load_state_dict(saved.state_dict())
    return True


def _saved_names(checkpoint: Path) -> set[str]:
    """Return the names of the weights in a checkpoint; empty without safetensors files."""
    from safetensors import safe_open

    if (index := checkpoint / SAFE_WEIGHTS_INDEX_NAME).exists():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    if (whole := checkpoint / SAFE_WEIGHTS_NAME).exists():
        with safe_open(whole, framework="pt") as weights:
            return set(weights.keys())
    return set()


TRAINING_STATE = ("optimizer", "scheduler", "rng_state", "trainer_state", "global_step", "latest")
"""Beginnings of the names of a checkpoint's files that a trained model does not need."""


def save_trained_model(trainer: Any) -> None:
    """Save a trained model in its output folder, by links to the files of the last checkpoint.

    A checkpoint of the last step has all files of the model, and writing them again takes as long
    as some steps do.
    """
    folder = Path(trainer.args.output_dir)
    checkpoint = folder / f"checkpoint-{trainer.state.global_step}"
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    whole = bool(_saved_names(checkpoint)) and not trainer.args.load_best_model_at_end
    if whole and not sharded and trainer.args.should_save:
        files = [each for each in checkpoint.iterdir() if each.is_file()]
        try:
            for file in files:
                if not file.name.startswith(TRAINING_STATE):
                    _link(file, folder / file.name)
            return
        except OSError as error:  # a file system without hard links
            logger.info("the model is written again, since it cannot be linked to: %s", error)
    if trainer.args.should_save:
        for weights in folder.glob("*.safetensors"):  # writing into a link would change both
            weights.unlink()
    if trainer.is_fsdp_enabled:
        _prepare_sharded(trainer)
    trainer.save_model(str(folder))


def _prepare_sharded(trainer: Any) -> None:
    """Let `save_model` gather the weights that FSDP split, in the dtype that they were loaded in.

    FSDP trains float32 copies, which a checkpoint keeps. Adapters stay in float32.
    """
    trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    loaded = getattr(trainer.model.config, "dtype", None)
    if isinstance(trainer.model, PreTrainedModel) and isinstance(loaded, torch.dtype):
        cast(Any, trainer.model).to(loaded)


def _link(file: Path, place: Path) -> None:
    place.unlink(missing_ok=True)
    place.hardlink_to(file)


def copy_through_pinned_memory() -> None:
    """Let `torch.save` copy tensors of a GPU through pinned memory, where PyTorch supports it."""
    from torch.utils import serialization

    config = getattr(serialization, "config", None)  # since PyTorch 2.7
    if config is not None and torch.cuda.is_available():
        config.save.use_pinned_memory_for_d2h = True
