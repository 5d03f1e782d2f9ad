"""Train the base model: it reads pictures, always answers, and understands instructions.

The training has three stages:

1. Image tokens are moved to the word embeddings of what they show (`vision_pretraining`), so that
   reading a card becomes a word look-up. Without this stage nothing is read after thousands of
   steps; with it, everything is read after about 150.
2. Cards are read aloud, attribute by attribute.
3. Lessons: questions, statuses and needs (`lessons`).
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.files.home import build_once
from spy_plugin.lab.base_checkpoint import BaseCheckpoint
from spy_plugin.lab.batches import Batch
from spy_plugin.lab.lessons import Lesson, lessons, reading_lessons
from spy_plugin.lab.recipe import Recipe, TrainingSetup

if TYPE_CHECKING:
    import torch

HISTORY = "history.json"
Progress = Callable[[int, float], None]


def train_base(
    folder: Path, recipe: Recipe, *, steps: int, seed: int = 0, progress: Progress | None = None
) -> None:
    """Train a base and write it to `folder` as a checkpoint with its processor.

    An interrupted training resumes from the file `<folder>-checkpoint.pt` beside `folder`.

    Args:
        folder: Must not exist yet.
        recipe: Recipe of the lab size.
        steps: Optimizer steps of the second and third stage together.
        progress: Called after each step with the number of finished steps and the loss.

    Raises:
        SpyBenchError: The checkpoint beside `folder` has other settings or cannot be read.
    """
    setup = recipe.build(seed, _device())
    model, optimizers = setup.model, setup.optimizers
    for group in _groups(setup):
        group["initial_lr"] = group["lr"]
    settings = {"size": recipe.name, "seed": seed, "steps": steps}
    checkpoint = BaseCheckpoint(folder.with_name(f"{folder.name}-checkpoint.pt"), settings)
    done, history = checkpoint.restore(model, optimizers)
    if not done:
        recipe.pretrain_vision(setup, seed)
    for step in range(done, steps):
        losses = _step(setup, recipe, step, steps, seed)
        if (step + 1) % 20 == 0 or step + 1 == steps:
            history.append({"step": step + 1, **losses})
        checkpoint.save(step + 1, model, optimizers, history)
        if progress:
            progress(step + 1, sum(losses.values()))

    def write(into: Path) -> None:
        model.save_pretrained(into)
        setup.save_processor(into)
        (into / HISTORY).write_text(json.dumps(history) + "\n", encoding="utf-8")

    build_once(folder, write)
    checkpoint.remove()


def _step(
    setup: TrainingSetup, recipe: Recipe, step: int, steps: int, seed: int
) -> dict[str, float]:
    """Take one optimizer step; return the losses of the lessons with a card and without."""
    import torch

    model, losses = setup.model, {}
    for name, part in zip(("cards", "texts"), _lessons_of(recipe, step, seed), strict=True):
        loss = model(**_to(setup.encoder.batch(part), model.device)).loss
        loss.backward()
        losses[name] = float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in _groups(setup):
        group["lr"] = group["initial_lr"] * _lr_factor(step, steps, recipe.schedule.warmup_steps)
    for optimizer in setup.optimizers:
        optimizer.step()
    model.zero_grad()
    return losses


def _lessons_of(recipe: Recipe, step: int, seed: int) -> tuple[list[Lesson], list[Lesson]]:
    """The lessons of a step with a card and without; they depend on seed and step alone."""
    rng, schedule = random.Random(f"{seed} {step}"), recipe.schedule
    if step < schedule.reading_steps:
        with_card = list(islice(reading_lessons(rng), 2 * schedule.card_lessons))
    else:
        taught = lessons(rng, with_card=True, wordings=recipe.wordings)
        with_card = list(islice(taught, schedule.card_lessons))
    without = lessons(rng, with_card=False, wordings=recipe.wordings)
    return with_card, list(islice(without, schedule.text_lessons))


def _groups(setup: TrainingSetup) -> Iterator[dict[str, Any]]:
    for optimizer in setup.optimizers:
        yield from optimizer.param_groups


def _lr_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine decay to 0.02 of the highest learning rate."""
    return max(
        0.02, min(1, (step + 1) / warmup_steps) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _to(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}
