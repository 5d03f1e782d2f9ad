"""The small size's model: a pretrained language model, joined to a new picture encoder as a LLaVA.

The encoder's patches are a card's cells: 16 image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.embedded.lab.cards import CELL, SIDE, Card, pixels
from spy_plugin.lab.batches import IMAGE_TOKENS, MEAN, STD, Batch, Pictures
from spy_plugin.lab.smollm2 import IMAGE
from spy_plugin.models import tiny_random as tiny
from spy_plugin.models.packaged import MAX_NEW_TOKENS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_OF_FILE = ("quantization_config", "_name_or_path", "_model_name_or_path")
"""What a language model's configuration says of the file that it was read from."""


@dataclass(frozen=True)
class Tower:
    """How large the picture encoder is."""

    width: int = 128
    layers: int = 2
    heads: int = 4


def joined(language: Any, words: PreTrainedTokenizerFast, tower: Tower, seed: int) -> Any:
    """The model: the language model's weights, everything else random, the same for a seed.

    Args:
        language: A Llama for causal language modelling with tied embeddings.
        words: Its tokenizer, with the tokens of ChatML and with IMAGE, which may be new to the
            language model: the embeddings get a row for it.
    """
    declare_missing_ops()  # transformers imports torchvision wherever it is installed
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    ids: dict[str, int] = words.get_vocab()
    text = {
        name: value for name, value in language.config.to_dict().items() if name not in _OF_FILE
    }
    special = {
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }
    config = LlavaConfig(
        text_config={**text, **special, "vocab_size": len(words)},
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": tower.width,
            "intermediate_size": 4 * tower.width,
            "num_hidden_layers": tower.layers,
            "num_attention_heads": tower.heads,
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
    _take_over(model, language)
    model.generation_config.update(
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        max_new_tokens=MAX_NEW_TOKENS,
    )
    return model


def _take_over(model: Any, language: Any) -> None:
    """Copy the language model's weights; rows of embeddings that it lacks stay as they are."""
    state = dict(language.model.state_dict())
    known = state["embed_tokens.weight"]
    rows = model.get_input_embeddings().weight.detach().clone()
    rows[: len(known)] = known
    model.model.language_model.load_state_dict(state | {"embed_tokens.weight": rows})


def save_processor(words: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the processor: a card is taken as it is."""
    declare_missing_ops()
    from transformers import CLIPImageProcessor, LlavaProcessor

    LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        words,
        patch_size=CELL,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=tiny.chat_template(IMAGE),
    ).save_pretrained(folder)


def picture_inputs(cards: Sequence[Card]) -> Batch:
    """What the image processor makes of cards: pixels [cards, 3, SIDE, SIDE]."""
    import torch

    colours = np.stack([pixels(card) for card in cards]).astype(np.float32) / 255
    scaled = ((colours - MEAN) / STD).transpose(0, 3, 1, 2)
    return {"pixel_values": torch.from_numpy(np.ascontiguousarray(scaled))}


LLAVA = Pictures((IMAGE,) * IMAGE_TOKENS, picture_inputs)
