"""Turn lessons into model inputs. Cards come from a table instead of the image processor."""

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
"""Normalization of the image processors of CLIP and Qwen2-VL; tests compare the pixels."""

Batch: TypeAlias = "dict[str, torch.Tensor]"


@dataclass(frozen=True)
class PictureFormat:
    """How a model family takes cards.

    Attributes:
        tokens: The tokens that represent one card in the text.
        inputs: Returns the tensors that the image processor would return for cards.
        typed_token: The token that `mm_token_type_ids` marks; None if the family has no such input.
    """

    tokens: tuple[str, ...]
    inputs: Callable[[Sequence[Card]], Batch]
    typed_token: str | None = None


class LessonEncoder:
    """Encodes lessons as batches; the loss covers the assistant's turns with their end tokens.

    Args:
        tokenizer: A tokenizer with the ChatML tokens.
        picture_format: How the model takes cards; that of Qwen2-VL by default.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, picture_format: PictureFormat | None = None
    ) -> None:
        self.vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.picture_format = picture_format or QWEN2_VL
        self._encode = lru_cache(maxsize=200_000)(
            lambda text: tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        )

    def picture_inputs(self, cards: Sequence[Card]) -> Batch:
        """The model's image inputs for cards."""
        return self.picture_format.inputs(cards)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a text without special tokens."""
        return self._encode(text)

    def batch(self, lessons: Sequence[Lesson]) -> Batch:
        """Right-padded inputs and labels. Either all lessons must have a card or none.

        Returns:
            `input_ids`, `attention_mask` and `labels` [lessons, tokens], and the image inputs.
        """
        import torch

        encoded = [self._sequence(lesson) for lesson in lessons]
        length = max(len(tokens) for tokens, _ in encoded)
        ids = np.full((len(encoded), length), self.vocabulary["<|endoftext|>"])
        labels = np.full((len(encoded), length), -100)
        mask = np.zeros((len(encoded), length), dtype=np.int64)
        for row, (tokens, spoken) in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
            labels[row, : len(tokens)] = np.where(spoken, tokens, -100)
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(labels),
        }
        cards = [lesson.card for lesson in lessons if lesson.card is not None]
        if cards:
            batch |= self.picture_inputs(cards)
        if cards and self.picture_format.typed_token:
            typed = batch["input_ids"] == self.vocabulary[self.picture_format.typed_token]
            batch["mm_token_type_ids"] = typed.int()
        return batch

    def _sequence(self, lesson: Lesson) -> tuple[list[int], list[bool]]:
        """Token ids as the chat template gives them, and which of them the assistant speaks."""
        start, end = self.vocabulary["<|im_start|>"], self.vocabulary["<|im_end|>"]
        picture = [self.vocabulary[token] for token in self.picture_format.tokens]
        tokens: list[int] = []
        spoken: list[bool] = []
        for number, (user, assistant) in enumerate(lesson.turns):
            shown = picture if lesson.card is not None and number == 0 else []
            prompt = [*self.token_ids("\n")] if number else []
            prompt += [start, *self.token_ids("user\n"), *shown, *self.token_ids(user), end]
            prompt += [*self.token_ids("\n"), start, *self.token_ids("assistant\n")]
            completion = [*self.token_ids(assistant), end]
            tokens += [*prompt, *completion]
            spoken += [False] * len(prompt) + [True] * len(completion)
        return tokens, spoken


def picture_inputs(cards: Sequence[Card]) -> Batch:
    """The output of Qwen2-VL's image processor: patches [cards * 64, 1176] and their grids."""
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
    """The four patches of every tile: [backgrounds, tiles, 4, 1176]; a picture is two frames."""
    colours = (tiles().astype(np.float32) / 255 - MEAN) / STD
    backgrounds, number = colours.shape[:2]
    grid = colours.reshape(backgrounds, number, 2, PATCH, 2, PATCH, 3)
    patches = grid.transpose(0, 1, 2, 4, 6, 3, 5)[:, :, :, :, :, None]
    return np.repeat(patches, 2, axis=5).reshape(backgrounds, number, 4, -1)


QWEN2_VL = PictureFormat(
    ("<|vision_start|>", *["<|image_pad|>"] * IMAGE_TOKENS, "<|vision_end|>"),
    picture_inputs,
    typed_token="<|image_pad|>",
)
