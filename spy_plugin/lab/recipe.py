"""What a size of the lab brings to the training of a base; `base` is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from spy_plugin.embedded.lab.wordings import Wordings
from spy_plugin.lab.batches import Encoder

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Course:
    """How long a base's stages take, and how many lessons a step has.

    Attributes:
        tower_steps: Of the first stage, which is not counted among a base's steps.
        reading_steps: Of the second; the rest are lessons.
        warmup_steps: Until the learning rates are reached.
        cards, texts: Lessons a step with a card and without.
    """

    tower_steps: int
    reading_steps: int
    warmup_steps: int
    cards: int
    texts: int


@dataclass(frozen=True)
class Learner:
    """A model before its first step, and what it learns by.

    Attributes:
        encoder: Makes batches of lessons for it.
        optimizers: Each of their groups has its highest learning rate.
        save_processor: Writes the processor into the model's folder.
    """

    model: Any
    encoder: Encoder
    optimizers: Sequence[torch.optim.Optimizer]
    save_processor: Callable[[Path], None]


class Recipe(Protocol):
    """How a base of a size is made."""

    @property
    def name(self) -> str:
        """Of the size."""

    @property
    def course(self) -> Course:
        """The length of its stages."""

    @property
    def wordings(self) -> Wordings:
        """How its lessons say things."""

    def begin(self, seed: int, device: str) -> Learner:
        """The model that learns, on its device: the same for the same seed."""

    def align_tower(self, learner: Learner, seed: int) -> float:
        """Move image tokens to the words for what they show; returns the share told right."""


def load_recipe(name: str) -> Recipe:
    """The recipe at ``"module:Class"``; naming one loads nothing heavy."""
    module, _, attribute = name.partition(":")
    made: Recipe = getattr(import_module(module), attribute)()
    return made
