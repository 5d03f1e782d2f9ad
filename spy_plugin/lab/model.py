"""The lab's untrained model: a Qwen2-VL small enough for a laptop, with a real processor."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.embedded.lab.cards import SIDE
from spy_plugin.embedded.lab.items import lab_items, tune_entry
from spy_plugin.embedded.lab.world import SPLITS
from spy_plugin.lab.lessons import lessons
from spy_plugin.models import tiny_random as tiny
from spy_plugin.models.packaged import MAX_NEW_TOKENS

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_VOCABULARY = 1024
"""At most; the lab's words need about 550."""

_HEAD = 32
"""Numbers of an attention head."""

_ROPE_THETA = 10_000.0
"""Turns a half of a head's numbers so slowly that a word is found at any distance of the lab."""

_SHARPNESS = 1.5
"""Of the first layer's look back: most of a head's attention, but not all."""

_PASSED_ON = 0.05
"""So that what a head passes on is about as large as a new word embedding."""


@dataclass(frozen=True)
class Size:
    """How large the model is.

    Attributes:
        hidden: Width of the text model; a head has `_HEAD` numbers.
        layers: Of the text model.
        vision_width, vision_layers: Of the vision tower.
    """

    hidden: int = 128
    layers: int = 4
    vision_width: int = 64
    vision_layers: int = 2


def _text() -> Iterator[str]:
    """What the tokenizer learns words from: lessons, and the questions of every split."""
    for with_card in (True, False):
        for lesson in islice(lessons(random.Random(1), with_card=with_card), 1500):
            for user, assistant in lesson.turns:
                yield "user\n" + user
                yield "assistant\n" + assistant
    for split in SPLITS:
        for item in lab_items(split, 100):
            question = tune_entry(item)["question_item"]
            yield from (question["question"], question["reject_ans"])


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer trained on the lab's text: a word of the lab is one token."""
    return tiny.train_tokenizer(_text(), _VOCABULARY)


def _begin_to_look_up(model: Any) -> None:
    """Let some heads of the text model begin by finding where a word stood before.

    To say what an instruction says of a label, its line must be looked up. From random attention
    that is learned late, if at all, as each part of a look-up is of use only beside the others: of
    twelve bases, six had not learned it after 2,000 steps; the one begun so that was watched told
    98% of the answers right after 400. All heads but one of the first layer look 1, 2, 3, ...
    tokens back, through their biases; half of the heads of the other layers look for what their own
    token holds, with equal queries and keys; and these heads pass on what they see. The rest is
    random, for cards are read more slowly if all heads look for words. Nothing is held fixed. The
    idea is that of mimetic initialization (Trockman and Kolter, 2023).
    """
    import torch

    angles = _ROPE_THETA ** (-torch.arange(_HEAD // 2) / (_HEAD // 2))  # of a token, in radians
    with torch.no_grad():
        for number, layer in enumerate(model.model.language_model.layers):
            attention = layer.self_attn
            width = attention.q_proj.in_features
            heads = width // _HEAD
            for head in range(heads // 2 if number else heads - 1):
                own = slice(_HEAD * head, _HEAD * (head + 1))
                if number == 0:
                    query, key = torch.zeros_like(angles), (head + 1) * angles
                    attention.q_proj.bias[own] = _SHARPNESS * torch.cat((query.cos(), query.sin()))
                    attention.k_proj.bias[own] = _SHARPNESS * torch.cat((key.cos(), key.sin()))
                else:
                    attention.q_proj.weight[own] = _directions(width)
                    attention.k_proj.weight[own] = attention.q_proj.weight[own]
                attention.v_proj.weight[own] = _directions(width)
                attention.o_proj.weight[:, own] = _PASSED_ON * attention.v_proj.weight[own].T


def _directions(width: int) -> torch.Tensor:
    """[head, width]: orthonormal rows."""
    import torch

    columns: torch.Tensor = torch.linalg.qr(torch.randn(width, _HEAD))[0]
    return columns.T


def untrained(size: Size, made: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A model with random weights, but for how its attention begins; the same for the same seed."""
    declare_missing_ops()  # transformers imports torchvision wherever it is installed
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    ids: dict[str, int] = made.get_vocab()
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(made),
            "hidden_size": size.hidden,
            "intermediate_size": 4 * size.hidden,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.hidden // _HEAD,
            "num_key_value_heads": size.hidden // _HEAD,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": _ROPE_THETA,
                "mrope_section": [4, 6, 6],
            },
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_layers,
            "embed_dim": size.vision_width,
            "hidden_size": size.hidden,
            "num_heads": 4,
            "mlp_ratio": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2VLForConditionalGeneration(config)
        _begin_to_look_up(model)
    model.generation_config.update(
        eos_token_id=made.eos_token_id,
        pad_token_id=made.pad_token_id,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    return model


def save_processor(made: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the processor: a card is taken as it is, 16 image tokens."""
    declare_missing_ops()
    tiny.save_processor(made, folder, smallest=SIDE * SIDE, largest=SIDE * SIDE)
