"""Random Qwen2-VL models of chosen sizes that vLLM's CPU build can run.

`spy-tiny-random` has heads of 16 dimensions, for which that build has no attention kernel.
"""

from __future__ import annotations

from pathlib import Path

from spy_plugin.models import tiny_random as tiny


def save_qwen2_vl(
    folder: Path,
    *,
    hidden: int = 128,
    layers: int = 2,
    head: int = 32,
    vision: int = 64,
    vision_layers: int = 2,
    pixels: int = 112 * 112,
    positions: int = 2048,
) -> Path:
    """Build the model, its tokenizer and its processor from a seed.

    Args:
        pixels: Upper bound of the pixels of a picture.
        positions: Maximum sequence length.
    """
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    import torch
    from transformers import (
        AutoProcessor,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
    )

    source = tiny.build()
    config = Qwen2VLConfig.from_pretrained(source)
    text, seen = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size = hidden, 4 * hidden
    text.num_hidden_layers, text.max_position_embeddings = layers, positions
    text.layer_types = ["full_attention"] * layers
    text.num_attention_heads, text.num_key_value_heads = hidden // head, hidden // head // 2
    half = head // 2
    sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    text.rope_parameters = {**text.rope_parameters, "mrope_section": sections}
    text.initializer_range = 0.3 if layers < 4 else 0.08
    seen.embed_dim, seen.depth, seen.hidden_size = vision, vision_layers, hidden
    seen.num_heads = vision // 32
    processor = AutoProcessor.from_pretrained(source)
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": pixels}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(config)
    # Remove settings that vLLM lacks, so that greedy decoding is the same in hosts and vLLM.
    model.generation_config.update(
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
