"""The tiny size's base: a Qwen2-VL from nothing, on a laptop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from spy_plugin.embedded.lab.wordings import RECOMBINED, Wordings
from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import tower
from spy_plugin.lab.batches import Encoder
from spy_plugin.lab.model import Size, save_processor, tokenizer, untrained
from spy_plugin.lab.recipe import Course, Learner

if TYPE_CHECKING:
    import torch

COURSE = Course(tower_steps=60, reading_steps=200, warmup_steps=100, cards=12, texts=24)
LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class TinyRecipe:
    """See `spy_plugin.lab.recipe.Recipe`."""

    name: str = "tiny"
    course: Course = COURSE

    @property
    def wordings(self) -> Wordings:
        """Each word of a held-out wording occurs in a training one."""
        return RECOMBINED

    def begin(self, seed: int, device: str) -> Learner:
        """A model with random weights, and a tokenizer trained on the lab's text."""
        made = tokenizer()
        model: Any = untrained(Size(), made, seed).train()
        model.to(device)
        return Learner(model, Encoder(made), _optimizers(model), partial(save_processor, made))

    def align_tower(self, learner: Learner, seed: int) -> float:
        """Tower and word embeddings meet half-way: both are new."""
        model = learner.model
        return tower.align(
            model,
            learner.encoder,
            tower.contrast,
            tower=list(model.model.visual.parameters()),
            others=[model.get_input_embeddings().weight],
            steps=self.course.tower_steps,
            seed=seed,
        )


def _optimizers(model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the layers, AdamW for the rest.

    With AdamW alone, and attention that began at random, of two bases one still guessed after 2,000
    steps what an instruction says of a label.

    Raises:
        SpyBenchError: this torch has no Muon.
    """
    import torch

    if not hasattr(torch.optim, "Muon"):
        raise SpyBenchError(
            f"torch {torch.__version__} has no Muon optimizer, with which the base is trained. "
            "Install torch 2.9 or newer, or start from a trained base: --base shipped."
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
