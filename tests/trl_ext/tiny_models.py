"""Tiny random vision-language models with their processors, built in memory, no download.

`build("qwen2_vl")` gives what `from_pretrained` would: a model of that family with a few thousand
parameters and a processor whose tokenizer is a byte-level BPE. The builders of each family are
in `FAMILIES`; the same seed gives the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

Parts = tuple[Any, Any]  # (model config, processor)

CHATML = """
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% for part in message.content -%}
{%- if part.type == 'image' -%}IMAGE{%- else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
""".strip()

SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

TEXT = [
    "Consider the face private. Do not consider the license plate private.",
    "What colour is the shirt of the person? Is there a name on the passport?",
    "I cannot share that, it is private. Sure, the car in the picture is red.",
    "user assistant system You are a careful helper.",
] * 4

TEXT_SIZE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,  # large enough for words and pictures to matter
    "tie_word_embeddings": True,
}


def _declare_torchvision_ops() -> None:
    """Let torchvision be imported beside a CPU torch, whose build lacks two of its operators."""
    global _LIBRARY
    if _LIBRARY is not None or hasattr(torch.ops.torchvision, "nms"):
        return
    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_LIBRARY: Any = None
_declare_torchvision_ops()


@lru_cache
def _backend(special_tokens: tuple[str, ...]) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return str(tokenizer.to_str())


def tokenizer(*more_special_tokens: str, **named_tokens: str) -> Any:
    """A byte-level BPE tokenizer; `named_tokens` are those a family's processor asks for."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    names = dict.fromkeys([*SPECIAL_TOKENS, *more_special_tokens, *named_tokens.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_backend(tuple(names))),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=named_tokens,
    )


def _qwen2_vl() -> Parts:
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    words = tokenizer()
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}),
        words,
        Qwen2VLVideoProcessor(),
        chat_template=CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    config = Qwen2VLConfig(
        text_config={**TEXT_SIZE, **_ids(words), "rope_parameters": _mrope()},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "num_heads": 4,
            "mlp_ratio": 2,
        },
        **_qwen_ids(words),
    )
    return config, processor


def _mrope() -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}


def _ids(words: Any) -> dict[str, int]:
    return {
        "vocab_size": len(words),
        "bos_token_id": words.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }


def _qwen_ids(words: Any) -> dict[str, Any]:
    return {
        "image_token_id": words.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": words.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": words.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": words.convert_tokens_to_ids("<|vision_end|>"),
        "tie_word_embeddings": True,
    }


FAMILIES: dict[str, Callable[[], Parts]] = {"qwen2_vl": _qwen2_vl}


def build(
    family: str,
    dtype: torch.dtype = torch.float32,
    directory: str | Path | None = None,
    seed: int = 0,
) -> tuple[Any, Any]:
    """A tiny random model of `family` and its processor.

    Args:
        family: A key of `FAMILIES`.
        dtype: Of the weights; float64 for tests of exactness.
        directory: Where to save both with `save_pretrained`; the model's name is then that path,
            as if it had been loaded from there.
        seed: Of the random weights.
    """
    from transformers import AutoModelForImageTextToText

    config, processor = FAMILIES[family]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    if directory is not None:
        model.save_pretrained(directory)
        processor.save_pretrained(directory)
        model.config._name_or_path = str(directory)
    return model.eval(), processor


def picture(seed: int = 0, width: int = 56, height: int = 56) -> Any:
    """A picture of random colours."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)
