"""Lessons -> what a model takes; cards come from a table, not through the image processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spy_plugin.embedded.lab.cards import CELL, GRID, Card, tile_number, tiles
from spy_plugin.lab.lessons import Lesson

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

IMAGE_TOKENS = GRID * GRID
PATCH = CELL // 2
MEAN = np.array((0.48145466, 0.4578275, 0.40821073), dtype=np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), dtype=np.float32)
"""Of CLIP's image processor and Qwen2-VL's; tests compare a card's pixels with theirs."""

Batch: TypeAlias = "dict[str, torch.Tensor]"


@dataclass(frozen=True)
class Pictures:
    """How a family of models takes cards.

    Attributes:
        tokens: What stands for a card in the text.
        inputs: Makes the tensors of cards that the image processor would make.
        marked: The token that `mm_token_type_ids` marks; none where there are no such types.
    """

    tokens: tuple[str, ...]
    inputs: Callable[[Sequence[Card]], Batch]
    marked: str | None = None


class Encoder:
    """Encodes lessons as batches; the loss is on what the assistant says, end of turn included.

    Args:
        tokenizer: With the tokens of ChatML.
        pictures: How its model takes cards; as a Qwen2-VL by default.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, pictures: Pictures | None = None
    ) -> None:
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.form = pictures or QWEN2_VL
        self._encode = lru_cache(maxsize=200_000)(
            lambda text: tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        )

    def pictures(self, cards: Sequence[Card]) -> Batch:
        """The inputs of cards."""
        return self.form.inputs(cards)

    def tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of a text without special tokens."""
        return self._encode(text)

    def batch(self, lessons: Sequence[Lesson]) -> Batch:
        """Right-padded inputs of lessons that all have a card, or all have none."""
        import torch

        encoded = [self._sequence(lesson) for lesson in lessons]
        length = max(len(tokens) for tokens, _ in encoded)
        ids = np.full((len(encoded), length), self.ids["<|endoftext|>"])
        labels = np.full((len(encoded), length), -100)
        mask = np.zeros((len(encoded), length), dtype=np.int64)
        for row, (tokens, said) in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
            labels[row, : len(tokens)] = np.where(said, tokens, -100)
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(labels),
        }
        cards = [lesson.card for lesson in lessons if lesson.card is not None]
        if cards:
            batch |= self.pictures(cards)
        if cards and self.form.marked:
            marked = batch["input_ids"] == self.ids[self.form.marked]
            batch["mm_token_type_ids"] = marked.int()
        return batch

    def _sequence(self, lesson: Lesson) -> tuple[list[int], list[bool]]:
        """Token ids as the chat template gives them, and which of them the assistant says."""
        start, end = self.ids["<|im_start|>"], self.ids["<|im_end|>"]
        picture = [self.ids[token] for token in self.form.tokens]
        tokens: list[int] = []
        said: list[bool] = []
        for number, (user, assistant) in enumerate(lesson.turns):
            shown = picture if lesson.card is not None and number == 0 else []
            prompt = [*self.tokens("\n")] if number else []
            prompt += [start, *self.tokens("user\n"), *shown, *self.tokens(user), end]
            prompt += [*self.tokens("\n"), start, *self.tokens("assistant\n")]
            completion = [*self.tokens(assistant), end]
            tokens += [*prompt, *completion]
            said += [False] * len(prompt) + [True] * len(completion)
        return tokens, said


def picture_inputs(cards: Sequence[Card]) -> Batch:
    """What the image processor makes of cards: patches [cards * 64, 1176] and their grids."""
    import torch

    places = np.array([[tile_number(cell) for cell in card.cells] for card in cards])
    backgrounds = np.array([[card.background] for card in cards])
    patches = _tile_patches()[backgrounds, places].reshape(-1, 3 * 2 * PATCH * PATCH)
    side = 2 * GRID
    return {
        "pixel_values": torch.from_numpy(patches),
        "image_grid_thw": torch.tensor([[1, side, side]]).repeat(len(cards), 1),
    }


@lru_cache(maxsize=1)
def _tile_patches() -> Any:
    """Every cell's four patches: [backgrounds, tiles, 4, 1176]. A still counts as two frames."""
    colours = (tiles().astype(np.float32) / 255 - MEAN) / STD
    backgrounds, number = colours.shape[:2]
    grid = colours.reshape(backgrounds, number, 2, PATCH, 2, PATCH, 3)
    patches = grid.transpose(0, 1, 2, 4, 6, 3, 5)[:, :, :, :, :, None]
    return np.repeat(patches, 2, axis=5).reshape(backgrounds, number, 4, -1)


QWEN2_VL = Pictures(
    ("<|vision_start|>", *["<|image_pad|>"] * IMAGE_TOKENS, "<|vision_end|>"),
    picture_inputs,
    marked="<|image_pad|>",
)
