"""Configuration and processor of a tiny model of each family; `tiny_models.build` uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from spy_plugin.compat.torchvision import declare_missing_ops

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
    "initializer_range": 0.1,  # large enough for words and pictures to affect the output
    "tie_word_embeddings": True,
}

VISION_SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


# Beside a CPU build of torch, torchvision lacks two operators and cannot be imported.
declare_missing_ops()


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
    """Train a byte-level BPE tokenizer; `named_tokens` are those that the processor needs."""
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
    from transformers import Qwen2VLConfig, Qwen2VLImageProcessor, Qwen2VLProcessor
    from transformers import Qwen2VLVideoProcessor as Video

    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 4, "mlp_ratio": 2}
    return _qwen(Qwen2VLConfig, Qwen2VLProcessor, Qwen2VLImageProcessor, Video, vision, patch=14)


def _qwen2_5_vl() -> Parts:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLProcessor, Qwen2VLImageProcessor
    from transformers import Qwen2VLVideoProcessor as Video

    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 4,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    return _qwen(
        Qwen2_5_VLConfig, Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Video, vision, patch=14
    )


def _qwen3_vl() -> Parts:
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLProcessor
    from transformers import Qwen3VLVideoProcessor as Video

    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 4,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    return _qwen(Qwen3VLConfig, Qwen3VLProcessor, Qwen2VLImageProcessor, Video, vision, patch=16)


def _qwen(
    config_class: Any,
    processor_class: Any,
    image_processor_class: Any,
    video_processor_class: Any,
    vision: dict[str, Any],
    patch: int,
) -> Parts:
    words = tokenizer()
    unit = 2 * patch  # side of a token in pixels
    processor = processor_class(
        image_processor_class(
            patch_size=patch, size={"shortest_edge": unit**2, "longest_edge": 4 * unit**2}
        ),
        words,
        video_processor_class(),
        chat_template=CHATML.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    config = config_class(
        text_config={**TEXT_SIZE, **_ids(words), "head_dim": 16, "rope_parameters": rope},
        vision_config={**vision, "patch_size": patch},
        image_token_id=words.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=words.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return config, processor


def _llava() -> Parts:
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaProcessor

    words = tokenizer("<image>")
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    config = LlavaConfig(
        text_config={"model_type": "llama", **TEXT_SIZE, **_ids(words)},
        vision_config={
            "model_type": "clip_vision_model",
            **VISION_SIZE,
            "image_size": 28,
            "patch_size": 14,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        tie_word_embeddings=True,
    )
    return config, processor


def _llava_onevision() -> Parts:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    words = tokenizer("<image>", "<video>")
    pinpoints = [[28, 28], [28, 56], [56, 28]]
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(
            size={"height": 28, "width": 28}, image_grid_pinpoints=pinpoints
        ),
        words,
        LlavaOnevisionVideoProcessor(),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **TEXT_SIZE, **_ids(words)},
        vision_config={
            "model_type": "siglip_vision_model",
            **VISION_SIZE,
            "image_size": 28,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=True,
    )
    return config, processor


def _internvl() -> Parts:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    words = tokenizer(
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(
            size={"height": 28, "width": 28}, crop_to_patches=True, min_patches=1, max_patches=2
        ),
        words,
        InternVLVideoProcessor(),
        image_seq_length=4,
        chat_template=CHATML.replace("IMAGE", "<IMG_CONTEXT>\n"),
    )
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **TEXT_SIZE, **_ids(words)},
        vision_config={**VISION_SIZE, "image_size": [28, 28], "patch_size": [7, 7]},
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=True,
    )
    return config, processor


def _gemma3() -> Parts:
    from transformers import Gemma3Config, Gemma3ImageProcessor, Gemma3Processor

    words = tokenizer(
        boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 28, "width": 28}),
        words,
        image_seq_length=4,
        chat_template=CHATML.replace("IMAGE", "<start_of_image>"),
    )
    config = Gemma3Config(
        text_config={
            **TEXT_SIZE,
            **_ids(words),
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config={
            **VISION_SIZE,
            "image_size": 28,
            "patch_size": 7,
            "vision_use_head": False,
        },
        mm_tokens_per_image=4,
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        tie_word_embeddings=True,
    )
    return config, processor


def _smolvlm() -> Parts:
    from transformers import (
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    words = tokenizer(*_IDEFICS_TOKENS)
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        words,
        SmolVLMVideoProcessor(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        image_seq_len=4,
        chat_template=CHATML.replace("IMAGE", "<image>"),
    )
    return _idefics(SmolVLMConfig, words), processor


def _idefics3() -> Parts:
    from transformers import Idefics3Config, Idefics3ImageProcessor, Idefics3Processor

    words = tokenizer(*_IDEFICS_TOKENS)
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": 56}, max_image_size={"longest_edge": 28}),
        words,
        image_seq_len=4,
        chat_template=CHATML.replace("IMAGE", "<image>"),
    )
    return _idefics(Idefics3Config, words), processor


_IDEFICS_TOKENS = [
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]


def _idefics(config_class: Any, words: Any) -> Any:
    return config_class(
        text_config={"model_type": "llama", **TEXT_SIZE, **_ids(words)},
        vision_config={**VISION_SIZE, "image_size": 28, "patch_size": 7},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        pad_token_id=words.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=True,
    )


def _ids(words: Any) -> dict[str, int]:
    return {
        "vocab_size": len(words),
        "bos_token_id": words.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }


FAMILIES: dict[str, Callable[[], Parts]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava": _llava,
    "llava_onevision": _llava_onevision,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
}
