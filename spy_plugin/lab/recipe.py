"""What a lab size defines about training its base; `base` runs the same stages for every size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spy_plugin.embedded.lab.wordings import Wordings
from spy_plugin.lab.batches import LessonEncoder

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Schedule:
    """How long the stages of a base take, and how many lessons a step has.

    Attributes:
        vision_steps: Steps of the first stage. They are not counted among the steps of a base.
        reading_steps: Steps of the second stage; the remaining steps of a base are lessons.
        warmup_steps: Steps until the learning rates reach their highest value.
        card_lessons: Lessons per step that show a card.
        text_lessons: Lessons per step without a card.
    """

    vision_steps: int
    reading_steps: int
    warmup_steps: int
    card_lessons: int
    text_lessons: int


@dataclass(frozen=True)
class TrainingSetup:
    """A model before its first step, with what its training needs.

    Attributes:
        encoder: Turns lessons into batches for the model.
        optimizers: The learning rate of each parameter group is its highest one.
        save_processor: Writes the processor into the model's folder.
    """

    model: Any
    encoder: LessonEncoder
    optimizers: Sequence[torch.optim.Optimizer]
    save_processor: Callable[[Path], None]


class Recipe(Protocol):
    """How the base of one lab size is made."""

    @property
    def name(self) -> str:
        """Name of the lab size."""

    @property
    def schedule(self) -> Schedule:
        """Length of the stages and lessons per step."""

    @property
    def wordings(self) -> Wordings:
        """Wordings of the lessons."""

    def build(self, seed: int, device: str) -> TrainingSetup:
        """Build the untrained model on its device; a seed always gives the same weights."""

    def pretrain_vision(self, setup: TrainingSetup, seed: int) -> float:
        """Move image tokens to the word embeddings of what they show; see `vision_pretraining`.

        Returns:
            The share of values that the image tokens identify correctly at the end.
        """


def load_recipe(name: str) -> Recipe:
    """Load the recipe at ``"module:Class"``. A name alone imports nothing heavy."""
    module, _, attribute = name.partition(":")
    recipe: Recipe = getattr(import_module(module), attribute)()
    return recipe
