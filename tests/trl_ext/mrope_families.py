"""Tiny models of further families whose text positions have three axes (M-RoPE)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.trl_ext.tiny_families import CHATML, TEXT_SIZE, Parts, _ids, tokenizer


def _glm4v() -> Parts:
    from transformers import Glm4vConfig, Glm4vImageProcessor, Glm4vProcessor, Glm4vVideoProcessor

    return _glm(Glm4vConfig, Glm4vProcessor, Glm4vImageProcessor, Glm4vVideoProcessor)


def _glm46v() -> Parts:
    from transformers import (
        Glm46VConfig,
        Glm46VImageProcessor,
        Glm46VProcessor,
        Glm46VVideoProcessor,
    )

    return _glm(Glm46VConfig, Glm46VProcessor, Glm46VImageProcessor, Glm46VVideoProcessor)


def _glm(config_class: Any, processor_class: Any, image_class: Any, video_class: Any) -> Parts:
    names = ("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>")
    words = tokenizer(*names, "<|begin_of_video|>", "<|end_of_video|>")
    processor = processor_class(
        image_class(patch_size=14, size={"shortest_edge": 784, "longest_edge": 3136}),
        words,
        video_class(),
        chat_template=CHATML.replace("IMAGE", "<|begin_of_image|><|image|><|end_of_image|>"),
    )
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    config = config_class(
        text_config={
            **TEXT_SIZE,
            **_ids(words),
            "rope_parameters": {**rope, "partial_rotary_factor": 1.0},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": 64,
            "image_size": 56,
            "patch_size": 14,
        },
        image_token_id=words.convert_tokens_to_ids("<|image|>"),
        video_token_id=words.convert_tokens_to_ids("<|video|>"),
        image_start_token_id=words.convert_tokens_to_ids("<|begin_of_image|>"),
        image_end_token_id=words.convert_tokens_to_ids("<|end_of_image|>"),
        video_start_token_id=words.convert_tokens_to_ids("<|begin_of_video|>"),
        video_end_token_id=words.convert_tokens_to_ids("<|end_of_video|>"),
        tie_word_embeddings=True,
    )
    return config, processor


def _qwen3_5() -> Parts:
    from transformers import Qwen3_5Config

    return _qwen3(
        Qwen3_5Config,
        {
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "layer_types": ["linear_attention", "full_attention"],
        },
        {},
    )


def _qwen3_vl_moe() -> Parts:
    from transformers import Qwen3VLMoeConfig

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return _qwen3(Qwen3VLMoeConfig, experts, {"deepstack_visual_indexes": [0]})


def _qwen3(config_class: Any, text: dict[str, Any], vision: dict[str, Any]) -> Parts:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    words, patch, unit = tokenizer(), 16, 32
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(
            patch_size=patch, size={"shortest_edge": unit**2, "longest_edge": 4 * unit**2}
        ),
        words,
        Qwen3VLVideoProcessor(),
        chat_template=CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    config = config_class(
        text_config={
            **TEXT_SIZE,
            **_ids(words),
            "head_dim": 16,
            "rope_parameters": {**rope, "partial_rotary_factor": 1.0},
            **text,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "patch_size": patch,
            **vision,
        },
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return config, processor


MROPE_FAMILIES: dict[str, Callable[[], Parts]] = {
    "glm4v": _glm4v,
    "glm46v": _glm46v,
    "qwen3_vl_moe": _qwen3_vl_moe,
    "qwen3_5": _qwen3_5,
}
