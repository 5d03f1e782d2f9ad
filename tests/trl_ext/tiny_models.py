"""Tiny random vision-language models with their processors, built in memory, no download.

`build("qwen2_vl")` returns what `from_pretrained` would return: a model of that family with some
hundred thousand parameters, and a processor with a byte-level BPE tokenizer. `FAMILIES` names the
families; the same seed gives the same weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.trl_ext.more_families import MORE_FAMILIES
from tests.trl_ext.tiny_families import FAMILIES

__all__ = ["FAMILIES", "build", "picture"]


def build(
    family: str,
    dtype: torch.dtype = torch.float32,
    directory: str | Path | None = None,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Build a tiny random model of `family` and its processor.

    Args:
        family: A key of `FAMILIES` or `MORE_FAMILIES`.
        dtype: Dtype of the weights; float64 for exactness tests.
        directory: Where to save both with `save_pretrained`; the model's name is then that path,
            as if it had been loaded from there.
        seed: Seed of the random weights.
    """
    from transformers import AutoModelForImageTextToText

    config, processor = (FAMILIES.get(family) or MORE_FAMILIES[family])()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        for name, parameter in model.named_parameters():
            if name.endswith("mm_input_projection_weight"):  # Gemma 3; 0 hides pictures
                torch.nn.init.normal_(parameter, std=0.1)
    if directory is not None:
        model.save_pretrained(directory)
        processor.save_pretrained(directory)
        model.config._name_or_path = str(directory)
    return model.eval(), processor


def picture(seed: int = 0, width: int = 56, height: int = 56) -> Any:
    """Make a picture of random colours."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)
