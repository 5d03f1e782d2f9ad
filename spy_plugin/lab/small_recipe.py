"""The small size's base: SmolLM2-135M-Instruct learns to see, on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from spy_plugin.embedded.lab.wordings import NATURAL, Wordings
from spy_plugin.lab import smollm2, tower
from spy_plugin.lab.batches import Encoder
from spy_plugin.lab.recipe import Course, Learner
from spy_plugin.lab.small_model import LLAVA, Tower, joined, save_processor

if TYPE_CHECKING:
    import torch

COURSE = Course(tower_steps=200, reading_steps=200, warmup_steps=100, cards=12, texts=24)
NEW_RATE, PRETRAINED_RATE = 1e-3, 1.5e-4
TOWER = Tower()


@dataclass(frozen=True)
class SmallRecipe:
    """See `spy_plugin.lab.recipe.Recipe`.

    Attributes:
        load: Gives the language model and its tokenizer.
        tower: How large the picture encoder is.
    """

    name: str = "small"
    course: Course = COURSE
    load: Callable[[], tuple[Any, Any]] = smollm2.load
    tower: Tower = TOWER

    @property
    def wordings(self) -> Wordings:
        """Each held-out wording has a word that no training wording has."""
        return NATURAL

    def begin(self, seed: int, device: str) -> Learner:
        """The pretrained language model behind a picture encoder that knows nothing."""
        import torch

        if device == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        language, words = self.load()
        model = joined(language, words, self.tower, seed).train().to(device)
        return Learner(
            model,
            Encoder(words, LLAVA),
            _optimizers(model),
            partial(save_processor, words),
        )

    def align_tower(self, learner: Learner, seed: int) -> float:
        """The picture encoder learns the language model's embeddings, which stay as they are."""
        return tower.align(
            learner.model,
            learner.encoder,
            tower.place,
            tower=[each for name, each in learner.model.named_parameters() if _is_new(name)],
            steps=self.course.tower_steps,
            seed=seed,
        )


def _is_new(name: str) -> bool:
    return "vision_tower." in name or "multi_modal_projector." in name


def _optimizers(model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW; what is pretrained takes smaller steps."""
    import torch

    new: list[torch.nn.Parameter] = []
    pretrained: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (new if _is_new(name) else pretrained).append(parameter)
    groups = [
        {"params": new, "lr": NEW_RATE},
        {"params": pretrained, "lr": PRETRAINED_RATE},
    ]
    return (torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01),)
