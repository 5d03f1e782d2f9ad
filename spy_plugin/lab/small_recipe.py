"""Recipe of the small size: SmolLM2-135M-Instruct learns to read pictures, on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from spy_plugin.embedded.lab.wordings import NATURAL, Wordings
from spy_plugin.lab import smollm2, vision_pretraining
from spy_plugin.lab.batches import LessonEncoder
from spy_plugin.lab.recipe import Schedule, TrainingSetup
from spy_plugin.lab.small_model import LLAVA, VisionSize, build_model, save_processor

if TYPE_CHECKING:
    import torch

SCHEDULE = Schedule(
    vision_steps=200, reading_steps=200, warmup_steps=100, card_lessons=12, text_lessons=24
)
NEW_LEARNING_RATE, PRETRAINED_LEARNING_RATE = 1e-3, 1.5e-4
VISION = VisionSize()


@dataclass(frozen=True)
class SmallRecipe:
    """See `spy_plugin.lab.recipe.Recipe`.

    Attributes:
        load: Returns the language model and its tokenizer.
        vision: Size of the vision tower.
    """

    name: str = "small"
    schedule: Schedule = SCHEDULE
    load: Callable[[], tuple[Any, Any]] = smollm2.load
    vision: VisionSize = VISION

    @property
    def wordings(self) -> Wordings:
        """Each held-out wording contains a word that no training wording contains."""
        return NATURAL

    def build(self, seed: int, device: str) -> TrainingSetup:
        """Build a LLaVA of the pretrained language model and an untrained vision tower."""
        import torch

        if device == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        language_model, tokenizer = self.load()
        model = build_model(language_model, tokenizer, self.vision, seed).train().to(device)
        return TrainingSetup(
            model,
            LessonEncoder(tokenizer, LLAVA),
            _optimizers(model),
            partial(save_processor, tokenizer),
        )

    def pretrain_vision(self, setup: TrainingSetup, seed: int) -> float:
        """Train the vision tower towards the word embeddings, which stay fixed."""
        return vision_pretraining.pretrain(
            setup.model,
            setup.encoder,
            vision_pretraining.distance_loss,
            vision=[each for name, each in setup.model.named_parameters() if _is_new(name)],
            steps=self.schedule.vision_steps,
            seed=seed,
        )


def _is_new(name: str) -> bool:
    return "vision_tower." in name or "multi_modal_projector." in name


def _optimizers(model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW with a smaller learning rate for pretrained parameters."""
    import torch

    new: list[torch.nn.Parameter] = []
    pretrained: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (new if _is_new(name) else pretrained).append(parameter)
    groups = [
        {"params": new, "lr": NEW_LEARNING_RATE},
        {"params": pretrained, "lr": PRETRAINED_LEARNING_RATE},
    ]
    return (torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01),)
