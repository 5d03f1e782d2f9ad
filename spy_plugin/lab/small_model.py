"""The model of the small size: a LLaVA of a pretrained language model and a new vision vision.

A patch of the vision tower is one cell of a card: 16 image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.embedded.lab.cards import CELL, SIDE, Card, pixels
from spy_plugin.lab.batches import IMAGE_TOKENS, MEAN, STD, Batch, PictureFormat
from spy_plugin.lab.smollm2 import IMAGE
from spy_plugin.models import tiny_random as tiny
from spy_plugin.models.packaged import MAX_NEW_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_FILE_KEYS = ("quantization_config", "_name_or_path", "_model_name_or_path")
"""Keys of a language model's configuration that describe the file it was read from."""


@dataclass(frozen=True)
class VisionSize:
    """Width, layers and heads of the vision vision."""

    width: int = 128
    layers: int = 2
    heads: int = 4


def build_model(
    language_model: Any, tokenizer: PreTrainedTokenizerFast, vision: VisionSize, seed: int
) -> Any:
    """Build a LLaVA around a language model; all other weights are random but fixed by `seed`.

    Args:
        language_model: A causal Llama with tied embeddings.
        tokenizer: Its tokenizer with the ChatML tokens and with IMAGE. If IMAGE is new to the
            language model, the embeddings get one more row.
    """
    declare_missing_ops()  # transformers imports torchvision wherever it is installed
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    ids: dict[str, int] = tokenizer.get_vocab()
    text = {
        name: value
        for name, value in language_model.config.to_dict().items()
        if name not in _FILE_KEYS
    }
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = LlavaConfig(
        text_config={**text, **special, "vocab_size": len(tokenizer)},
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": vision.width,
            "intermediate_size": 4 * vision.width,
            "num_hidden_layers": vision.layers,
            "num_attention_heads": vision.heads,
            "image_size": SIDE,
            "patch_size": CELL,
        },
        image_token_index=ids[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    _copy_language_weights(model, language_model)
    model.generation_config.update(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    return model


def _copy_language_weights(model: Any, language_model: Any) -> None:
    """Copy all weights of the language model; embedding rows that it lacks stay random."""
    state = dict(language_model.model.state_dict())
    known = state["embed_tokens.weight"]
    rows = model.get_input_embeddings().weight.detach().clone()
    rows[: len(known)] = known
    model.model.language_model.load_state_dict(state | {"embed_tokens.weight": rows})


def save_processor(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the processor. It never resizes a card."""
    declare_missing_ops()
    from transformers import CLIPImageProcessor, LlavaProcessor

    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer,
        patch_size=CELL,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=tiny.chat_template(IMAGE),
    ).save_pretrained(folder)


def picture_inputs(cards: Sequence[Card]) -> Batch:
    """The output of CLIP's image processor: pixels [cards, 3, SIDE, SIDE]."""
    import torch

    colours = np.stack([pixels(card) for card in cards]).astype(np.float32) / 255
    scaled = ((colours - MEAN) / STD).transpose(0, 3, 1, 2)
    return {"pixel_values": torch.from_numpy(np.ascontiguousarray(scaled))}


LLAVA = PictureFormat((IMAGE,) * IMAGE_TOKENS, picture_inputs)
