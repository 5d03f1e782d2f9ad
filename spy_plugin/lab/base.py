"""The base model: it sees, answers always, and understands instructions.

Three stages. First the picture's tokens are put where the words for what they show are (as in
contrastive pre-training, but on the words' own embeddings), so that to read a card is to look a
word up; then cards are read aloud; then the lessons. Without the first stage nothing is read after
thousands of steps; with it, everything after about 150.
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
from spy_plugin.lab.batches import Batch
from spy_plugin.lab.lessons import Lesson, lessons, readings
from spy_plugin.lab.recipe import Learner, Recipe
from spy_plugin.lab.unfinished import Unfinished

if TYPE_CHECKING:
    import torch

HISTORY = "history.json"
Progress = Callable[[int, float], None]


def train_base(
    folder: Path, recipe: Recipe, *, steps: int, seed: int = 0, progress: Progress | None = None
) -> None:
    """Train the base and write it as a checkpoint with its processor; `folder` must not exist.

    A training that was killed goes on from the file beside `folder` in which it keeps its state.

    Args:
        recipe: Of the base's size.
        steps: Of the second and third stage together.
        progress: Told after each step: how many are done, and the loss.
    """
    learner = recipe.begin(seed, _device())
    model, optimizers = learner.model, learner.optimizers
    for group in _groups(learner):
        group["initial_lr"] = group["lr"]
    about = {"size": recipe.name, "seed": seed, "steps": steps}
    unfinished = Unfinished(folder.with_name(f"{folder.name}-unfinished.pt"), about)
    done, history = unfinished.restore(model, optimizers)
    if not done:
        recipe.align_tower(learner, seed)
    for step in range(done, steps):
        losses = _step(learner, recipe, step, steps, seed)
        if (step + 1) % 20 == 0 or step + 1 == steps:
            history.append({"step": step + 1, **losses})
        unfinished.keep(step + 1, model, optimizers, history)
        if progress:
            progress(step + 1, sum(losses.values()))

    def write(into: Path) -> None:
        model.save_pretrained(into)
        learner.save_processor(into)
        (into / HISTORY).write_text(json.dumps(history) + "\n", encoding="utf-8")

    build_once(folder, write)
    unfinished.remove()


def _step(learner: Learner, recipe: Recipe, step: int, steps: int, seed: int) -> dict[str, float]:
    """One step on readings or lessons; returns the loss of those with a card and without."""
    import torch

    model, losses = learner.model, {}
    for name, part in zip(("cards", "texts"), _lessons_of(recipe, step, seed), strict=True):
        loss = model(**_to(learner.encoder.batch(part), model.device)).loss
        loss.backward()
        losses[name] = float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in _groups(learner):
        group["lr"] = group["initial_lr"] * _schedule(step, steps, recipe.course.warmup_steps)
    for optimizer in learner.optimizers:
        optimizer.step()
    model.zero_grad()
    return losses


def _lessons_of(recipe: Recipe, step: int, seed: int) -> tuple[list[Lesson], list[Lesson]]:
    """With a card and without: the same for a step whatever was drawn before it."""
    rng, course = random.Random(f"{seed} {step}"), recipe.course
    if step < course.reading_steps:
        with_card = list(islice(readings(rng), 2 * course.cards))
    else:
        taught = lessons(rng, with_card=True, wordings=recipe.wordings)
        with_card = list(islice(taught, course.cards))
    without = lessons(rng, with_card=False, wordings=recipe.wordings)
    return with_card, list(islice(without, course.texts))


def _groups(learner: Learner) -> Iterator[dict[str, Any]]:
    for optimizer in learner.optimizers:
        yield from optimizer.param_groups


def _schedule(step: int, steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    return max(
        0.02, min(1, (step + 1) / warmup_steps) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _to(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}
