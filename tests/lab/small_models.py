"""Helpers for the tests of the small size: a tiny Llama in place of SmolLM2, and two checks."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from spy_plugin.embedded.lab.wordings import NATURAL
from spy_plugin.lab.lessons import Lesson, lessons
from spy_plugin.lab.recipe import Schedule
from spy_plugin.lab.small_model import VisionSize
from spy_plugin.lab.small_recipe import SmallRecipe
from spy_plugin.lab.smollm2 import IMAGE
from spy_plugin.models.tiny_random import train_tokenizer
from tests.trl_ext.rows import paired_rows

HIDDEN = 32
SHORT = Schedule(vision_steps=2, reading_steps=2, warmup_steps=2, card_lessons=2, text_lessons=2)


def lesson(*, with_card: bool, seed: int = 5) -> Lesson:
    """Return a lesson in the wordings of the small size."""
    return next(lessons(random.Random(seed), with_card=with_card, wordings=NATURAL))


@lru_cache(maxsize=1)
def stand_in() -> tuple[Any, Any]:
    """Return a Llama of two layers, and a tokenizer with IMAGE, for which embeddings lack a row."""
    from transformers import LlamaConfig, LlamaForCausalLM

    turns = [
        text
        for with_card in (True, False)
        for turn in lesson(with_card=with_card).turns
        for text in turn
    ]
    words = train_tokenizer(["user\n", "assistant\n", *turns], 400)
    words.bos_token = "<|im_start|>"
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,  # large enough for words and pictures to affect the output
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        language = LlamaForCausalLM(config)
    words.add_special_tokens({"additional_special_tokens": [IMAGE]})
    return language, words


def short_recipe(load: Callable[[], tuple[Any, Any]] = stand_in) -> SmallRecipe:
    """Return the recipe of the small size with few lessons and a small vision tower."""
    return SmallRecipe(schedule=SHORT, load=load, vision=VisionSize(width=32, layers=1, heads=2))


def assert_inputs_are_the_processor_s(encoder: Any, folder: Path) -> None:
    """Check that a lesson's batch equals what the processor saved in `folder` returns for it."""
    from transformers import AutoProcessor

    from spy_plugin.embedded.lab.cards import draw

    processor = AutoProcessor.from_pretrained(folder)
    shown = lesson(with_card=True)
    messages: list[dict[str, Any]] = [
        {"role": role, "content": text}
        for turn in shown.turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    messages[0]["content"] = [{"type": "image"}, {"type": "text", "text": shown.turns[0][0]}]
    text = processor.apply_chat_template(messages, tokenize=False)
    assert shown.card is not None
    expected = processor(text=[text], images=[draw(shown.card)], return_tensors="pt")
    batch = encoder.batch([shown])
    assert batch["input_ids"].tolist() == expected["input_ids"].tolist()
    assert batch["pixel_values"].shape == expected["pixel_values"].shape
    torch.testing.assert_close(batch["pixel_values"], expected["pixel_values"], rtol=0, atol=1e-6)


def both_layouts(model: Any, processor: Any, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [4 * rows] of paired rows by the prefix tree and by the plain batch."""
    from trl_ext.nca_priv.nca_priv_trainer import SIDES
    from trl_ext.prefix_sharing.collator import PreferenceCollator
    from trl_ext.prefix_sharing.encoding import SequenceEncoder
    from trl_ext.prefix_sharing.log_probs import tree_log_probs
    from trl_ext.prefix_sharing.plain import plain_log_probs

    collate = PreferenceCollator(SequenceEncoder(processor), SIDES)
    sequences = collate(paired_rows(rows))["sequences"]
    return tree_log_probs(model, sequences), plain_log_probs(model, sequences)
