"""Tiny models of further families in docs/families.md, beside those of `tiny_families`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.trl_ext.mrope_families import MROPE_FAMILIES
from tests.trl_ext.tiny_families import (
    CHATML,
    TEXT_SIZE,
    VISION_SIZE,
    Parts,
    _ids,
    tokenizer,
)

_WINDOW = {"head_dim": 16, "sliding_window": 24}


def _llava_next() -> Parts:
    from transformers import LlavaNextConfig, LlavaNextImageProcessor, LlavaNextProcessor

    words = tokenizer("<image>")
    pinpoints = [[28, 56], [56, 28], [56, 56]]
    processor = LlavaNextProcessor(
        LlavaNextImageProcessor(
            size={"shortest_edge": 28},
            crop_size={"height": 28, "width": 28},
            image_grid_pinpoints=pinpoints,
        ),
        words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    config = LlavaNextConfig(
        text_config={"model_type": "llama", **TEXT_SIZE, **_ids(words)},
        vision_config={"model_type": "clip_vision_model", **VISION_SIZE, **_picture(28, 14)},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=True,
    )
    return config, processor


def _pixtral() -> Parts:
    from transformers import LlavaConfig

    processor = _pixtral_processor(spatial_merge_size=1)
    words = processor.tokenizer
    config = LlavaConfig(
        text_config={"model_type": "mistral", **TEXT_SIZE, **_ids(words), **_WINDOW},
        vision_config={"model_type": "pixtral", **VISION_SIZE, **_picture(56, 14)},
        image_token_index=words.convert_tokens_to_ids("[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    return config, processor


def _mistral3(text: str = "mistral") -> Parts:
    from transformers import Mistral3Config

    processor = _pixtral_processor(spatial_merge_size=2)
    words = processor.tokenizer
    config = Mistral3Config(
        text_config={"model_type": text, **TEXT_SIZE, **_ids(words), **_WINDOW},
        vision_config={"model_type": "pixtral", **VISION_SIZE, **_picture(56, 14)},
        image_token_index=words.convert_tokens_to_ids("[IMG]"),
        spatial_merge_size=2,
        tie_word_embeddings=True,
    )
    return config, processor


def _ministral3() -> Parts:
    return _mistral3("ministral3")


def _pixtral_processor(spatial_merge_size: int) -> Any:
    from transformers import PixtralImageProcessor, PixtralProcessor

    return PixtralProcessor(
        PixtralImageProcessor(size={"longest_edge": 56}, patch_size={"height": 14, "width": 14}),
        tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        patch_size=14,
        spatial_merge_size=spatial_merge_size,
        chat_template=CHATML.replace("IMAGE", "[IMG]"),
    )


def _idefics2() -> Parts:
    from transformers import Idefics2Config, Idefics2ImageProcessor, Idefics2Processor

    words = tokenizer("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    processor = Idefics2Processor(
        Idefics2ImageProcessor(
            size={"longest_edge": 56, "shortest_edge": 28}, do_image_splitting=False
        ),
        words,
        image_seq_len=4,
        chat_template=CHATML.replace("IMAGE", "<image>"),
    )
    config = Idefics2Config(
        text_config={"model_type": "mistral", **TEXT_SIZE, **_ids(words), **_WINDOW},
        vision_config={**VISION_SIZE, **_picture(56, 14)},
        perceiver_config={
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 4,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
            "hidden_size": 64,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    return config, processor


def _aya_vision() -> Parts:
    from transformers import AyaVisionConfig, AyaVisionProcessor, GotOcr2ImageProcessor

    words = tokenizer(
        "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL"
    )
    processor = AyaVisionProcessor(
        GotOcr2ImageProcessor(
            size={"height": 28, "width": 28}, crop_to_patches=True, min_patches=1, max_patches=2
        ),
        words,
        patch_size=7,
        img_size=28,
        image_token="<image>",
        downsample_factor=2,
        start_of_img_token="<|START_OF_IMG|>",
        end_of_img_token="<|END_OF_IMG|>",
        img_patch_token="<image>",
        img_line_break_token="<|IMG_LINE_BREAK|>",
        tile_token="TILE",
        tile_global_token="TILE_GLOBAL",
        chat_template=CHATML.replace("IMAGE", "<image>"),
    )
    config = AyaVisionConfig(
        text_config={
            "model_type": "cohere2",
            **TEXT_SIZE,
            **_ids(words),
            "sliding_window": 24,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        vision_config={
            "model_type": "siglip_vision_model",
            **VISION_SIZE,
            **_picture(28, 7),
            "vision_use_head": False,
        },
        vision_feature_layer=-1,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    return config, processor


def _ovis2() -> Parts:
    from transformers import Ovis2Config, Ovis2ImageProcessor, Ovis2Processor

    names = ("<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>")
    words = tokenizer("<image>", *names)
    processor = Ovis2Processor(
        Ovis2ImageProcessor(size={"height": 28, "width": 28}, max_patches=2),
        words,
        image_token="<image>",
        image_seq_length=4,
        chat_template=CHATML.replace("IMAGE", "<image>\n"),
    )
    config = Ovis2Config(
        text_config={"model_type": "qwen2", **TEXT_SIZE, **_ids(words)},
        vision_config={**VISION_SIZE, **_picture(28, 7), "vocab_size": 40, "hidden_stride": 2},
        image_token_id=words.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=[words.convert_tokens_to_ids(name) for name in names[1:]],
        vocab_size=len(words),
        hidden_size=64,
    )
    return config, processor


def _lfm2_vl() -> Parts:
    from transformers import Lfm2VlConfig, Lfm2VlImageProcessor, Lfm2VlProcessor

    words = tokenizer("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>")
    processor = Lfm2VlProcessor(
        Lfm2VlImageProcessor(
            encoder_patch_size=14, min_image_tokens=1, max_image_tokens=4, tile_size=56
        ),
        words,
        chat_template=CHATML.replace("IMAGE", "<image>"),
    )
    config = Lfm2VlConfig(
        text_config={
            "model_type": "lfm2",
            **TEXT_SIZE,
            **_ids(words),
            "layer_types": ["conv", "full_attention"],
        },
        vision_config={
            "model_type": "siglip2_vision_model",
            **VISION_SIZE,
            "patch_size": 14,
            "num_patches": 16,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    return config, processor


def _llama4() -> Parts:
    from transformers import Llama4Config, Llama4ImageProcessor, Llama4Processor

    names = ("<|image|>", "<|patch|>", "<|image_start|>", "<|image_end|>")
    words = tokenizer(*names, "<|tile_x_separator|>", "<|tile_y_separator|>")
    processor = Llama4Processor(
        Llama4ImageProcessor(size={"height": 28, "width": 28}, max_patches=1),
        words,
        patch_size=7,
        pixel_shuffle_ratio=0.5,
        fake_image_token="<|image|>",
        image_token="<|image|>",
        chat_template=CHATML.replace("IMAGE", "<|image|>"),
    )
    config = Llama4Config(
        text_config={
            **TEXT_SIZE,
            **_ids(words),
            "head_dim": 16,
            "intermediate_size_mlp": 96,
            "num_local_experts": 2,
            "attention_chunk_size": 64,
            "layer_types": ["chunked_attention", "full_attention"],
        },
        vision_config={
            **VISION_SIZE,
            **_picture(28, 7),
            "vision_output_dim": 32,
            "projector_input_dim": 32,
            "projector_output_dim": 32,
            "intermediate_size": 128,
        },
        image_token_index=words.convert_tokens_to_ids("<|patch|>"),
    )
    return config, processor


def _paligemma() -> Parts:
    from transformers import PaliGemmaConfig, PaliGemmaProcessor, SiglipImageProcessor

    words = tokenizer("<image>", bos_token="<|im_start|>")
    words.add_bos_token = False
    pictures = SiglipImageProcessor(size={"height": 28, "width": 28})
    pictures.image_seq_length = 4
    processor = PaliGemmaProcessor(
        pictures, words, chat_template=CHATML.replace("IMAGE", "<image>")
    )
    config = PaliGemmaConfig(
        text_config={"model_type": "gemma", **TEXT_SIZE, **_ids(words), "head_dim": 16},
        vision_config={
            "model_type": "siglip_vision_model",
            **VISION_SIZE,
            **_picture(28, 14),
            "vision_use_head": False,
        },
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=64,
    )
    return config, processor


def _mllama() -> Parts:
    from transformers import MllamaConfig, MllamaImageProcessor, MllamaProcessor

    words = tokenizer("<|image|>", "<|begin_of_text|>")
    words.bos_token = "<|begin_of_text|>"
    processor = MllamaProcessor(
        MllamaImageProcessor(size={"height": 28, "width": 28}, max_image_tiles=2),
        words,
        chat_template=CHATML.replace("IMAGE", "<|image|>"),
    )
    text = {**TEXT_SIZE, **_ids(words), "num_hidden_layers": 3, "tie_word_embeddings": False}
    config = MllamaConfig(
        text_config={
            **text,
            "cross_attention_layers": [1],
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "intermediate_size": 48,
            "vision_output_dim": 64,
            "image_size": 28,
            "patch_size": 14,
            "max_num_tiles": 2,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    return config, processor


def _picture(size: int, patch: int) -> dict[str, int]:
    return {"image_size": size, "patch_size": patch}


MORE_FAMILIES: dict[str, Callable[[], Parts]] = {
    "llava_next": _llava_next,
    "pixtral": _pixtral,
    "mistral3": _mistral3,
    "ministral3": _ministral3,
    "idefics2": _idefics2,
    "aya_vision": _aya_vision,
    "ovis2": _ovis2,
    "lfm2_vl": _lfm2_vl,
    "llama4": _llama4,
    "mllama": _mllama,
    "paligemma": _paligemma,
    **MROPE_FAMILIES,
}
