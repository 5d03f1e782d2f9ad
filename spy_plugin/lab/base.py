"""The base model, from nothing: it sees, answers always, and understands instructions.

Three stages. First the picture's tokens are put where the words for what they show are (as in
contrastive pre-training, but on the words' own embeddings), so that to read a card is to look a
word up; then cards are read aloud; then the lessons. Without the first stage nothing is read after
thousands of steps; with it, everything after about 150.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.home import build_once
from spy_plugin.lab import BASE_STEPS
from spy_plugin.lab.batches import Batch, Encoder, picture_inputs
from spy_plugin.lab.cards import random_card
from spy_plugin.lab.lessons import Lesson, lessons, readings
from spy_plugin.lab.model import Size, save_processor, tokenizer, untrained
from spy_plugin.lab.unfinished import Unfinished
from spy_plugin.lab.world import ATTRIBUTES

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

TOWER_STEPS = 60
READING_STEPS = 200
WARMUP_STEPS = 100
LEARNING_RATE = 2e-3
CARDS, TEXTS = 12, 24
"""Lessons a step with a card and without."""

HISTORY = "history.json"
Progress = Callable[[int, float], None]


def train_base(
    folder: Path, *, seed: int = 0, steps: int = BASE_STEPS, progress: Progress | None = None
) -> None:
    """Train the base and write it as a checkpoint with its processor; `folder` must not exist.

    A training that was killed goes on from the file beside `folder` in which it keeps its state.

    Args:
        steps: Of the second and third stage together.
        progress: Told after each step: how many are done, and the loss.
    """
    made = tokenizer()
    encoder = Encoder(made)
    model: Any = untrained(Size(), made, seed).train()
    model.to(_device())
    optimizers = _optimizers(model)
    unfinished = Unfinished(
        folder.with_name(f"{folder.name}-unfinished.pt"), {"seed": seed, "steps": steps}
    )
    done, history = unfinished.restore(model, optimizers)
    if not done:
        align_tower(model, encoder, TOWER_STEPS, seed)
    for step in range(done, steps):
        losses = _step(model, encoder, optimizers, step, steps, seed)
        if (step + 1) % 20 == 0 or step + 1 == steps:
            history.append({"step": step + 1, **losses})
        unfinished.keep(step + 1, model, optimizers, history)
        if progress:
            progress(step + 1, sum(losses.values()))

    def write(into: Path) -> None:
        model.save_pretrained(into)
        save_processor(made, into)
        (into / HISTORY).write_text(json.dumps(history) + "\n", encoding="utf-8")

    build_once(folder, write)
    unfinished.remove()


def align_tower(model: Any, encoder: Encoder, steps: int, seed: int) -> float:
    """Move each cell's image token to the words of its icon and of its value.

    The token's product with the attribute's word must beat those with the other attributes' words,
    and so for the attribute's values. Returns the last share of values told right.
    """
    import torch
    from torch.nn import functional

    device = model.device
    words = torch.tensor([encoder.tokens(" " + each.word)[0] for each in ATTRIBUTES], device=device)
    values = torch.tensor(
        [[encoder.tokens(" " + value)[0] for value in each.values] for each in ATTRIBUTES],
        device=device,
    )
    embeddings = model.get_input_embeddings().weight
    tower = list(model.model.visual.parameters())
    optimizer = torch.optim.AdamW([*tower, embeddings], lr=2e-3, betas=(0.9, 0.98), weight_decay=0)
    rng = random.Random(seed)
    right = 0.0
    for step in range(steps):
        _set_rate(optimizer, 2e-3 * min(1, (step + 1) / 30))
        cards = [random_card(rng) for _ in range(32)]
        inputs = _to(picture_inputs(cards), device)
        tokens = model.model.visual(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output
        shown = [cell or (-100, -100) for card in cards for cell in card.cells]
        attribute, value = torch.tensor(shown, device=device).unbind(1)
        there = attribute >= 0
        by_value = torch.einsum("nd,nkd->nk", tokens[there], embeddings[values[attribute[there]]])
        loss = functional.cross_entropy(8 * tokens @ embeddings[words].T, attribute)
        loss = loss + functional.cross_entropy(8 * by_value, value[there])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        right = float((by_value.argmax(1) == value[there]).float().mean())
    logger.info("the tower tells %.1f%% of the values", 100 * right)
    return right


def _step(
    model: Any,
    encoder: Encoder,
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    steps: int,
    seed: int,
) -> dict[str, float]:
    """One step on readings or lessons; returns the loss of those with a card and without."""
    import torch

    losses = {}
    for name, part in zip(("cards", "texts"), _lessons_of(step, seed), strict=True):
        loss = model(**_to(encoder.batch(part), model.device)).loss
        loss.backward()
        losses[name] = float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        _set_rate(optimizer, LEARNING_RATE * _schedule(step, steps))
        optimizer.step()
    model.zero_grad()
    return losses


def _lessons_of(step: int, seed: int) -> tuple[list[Lesson], list[Lesson]]:
    """With a card and without: the same for a step whatever was drawn before it."""
    rng = random.Random(f"{seed} {step}")
    if step < READING_STEPS:
        with_card = list(islice(readings(rng), 2 * CARDS))
    else:
        with_card = list(islice(lessons(rng, with_card=True), CARDS))
    return with_card, list(islice(lessons(rng, with_card=False), TEXTS))


def _optimizers(model: Any) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the layers, AdamW for the rest.

    With AdamW alone, whether a label's line is found in an instruction was a matter of the seed: of
    two bases one still guessed after 2,000 steps. With Muon, four of four knew by step 1,500, two
    of them on half the lessons.

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
        torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01),
    )


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    return max(
        0.02, min(1, (step + 1) / WARMUP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _to(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
