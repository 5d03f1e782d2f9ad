"""Recipe of the tiny size: a Qwen2-VL trained from random weights on a laptop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from spy_plugin.embedded.lab.wordings import RECOMBINED, Wordings
from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import vision_pretraining
from spy_plugin.lab.batches import LessonEncoder
from spy_plugin.lab.recipe import Schedule, TrainingSetup
from spy_plugin.lab.tiny_model import ModelSize, build_model, build_tokenizer, save_processor

if TYPE_CHECKING:
    import torch

SCHEDULE = Schedule(
    vision_steps=60, reading_steps=200, warmup_steps=100, card_lessons=12, text_lessons=24
)
LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class TinyRecipe:
    """See `spy_plugin.lab.recipe.Recipe`."""

    name: str = "tiny"
    schedule: Schedule = SCHEDULE

    @property
    def wordings(self) -> Wordings:
        """Held-out wordings recombine the words of the training wordings."""
        return RECOMBINED

    def build(self, seed: int, device: str) -> TrainingSetup:
        """Build a model with random weights and a tokenizer trained on the lab's text."""
        tokenizer = build_tokenizer()
        model: Any = build_model(ModelSize(), tokenizer, seed).train()
        model.to(device)
        return TrainingSetup(
            model,
            LessonEncoder(tokenizer),
            _optimizers(model),
            partial(save_processor, tokenizer),
        )

    def pretrain_vision(self, setup: TrainingSetup, seed: int) -> float:
        """Train the vision tower and the word embeddings together, since both are random."""
        model = setup.model
        return vision_pretraining.pretrain(
            model,
            setup.encoder,
            vision_pretraining.contrastive_loss,
            vision=list(model.model.visual.parameters()),
            others=[model.get_input_embeddings().weight],
            steps=self.schedule.vision_steps,
            seed=seed,
        )


def _optimizers(model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the layers, AdamW for all other parameters.

    With AdamW alone and randomly initialized attention, one of two bases still guessed statuses
    after 2,000 steps.

    Raises:
        SpyBenchError: The installed torch has no Muon optimizer.
    """
    import torch

    if not hasattr(torch.optim, "Muon"):
        raise SpyBenchError(
            f"torch {torch.__version__} has no Muon optimizer, which trains the base. "
            "Install torch 2.9 or newer, or start from the shipped base: --base shipped."
        )
    layers = ("layers.", "blocks.")
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        inner = parameter.ndim == 2 and any(part in name for part in layers)
        (matrices if inner else others).append(parameter)
    return (
        torch.optim.Muon(
            matrices, lr=LEARNING_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01),
    )
