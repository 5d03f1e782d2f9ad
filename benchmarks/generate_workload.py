"""The workload of `generate.py`: a small model, pictures with prompts, answers of all lengths.

All sizes are about a quarter of those that Qwen2-VL-7B-Instruct has in the benchmark: a picture has
256 tokens (a photograph of 1024 x 768 pixels: about 1,000), its text about 25 (instructions,
scenario and question: about 110), an answer at most 128 (the protocol: 512). As there, a picture
costs 0.6 times as much work in the vision encoder as in the language model.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from tests.vllm.small_models import save_qwen2_vl


@dataclass(frozen=True)
class Sample:
    """A prompt about a picture."""

    id: str
    picture: Path
    prompt: str


def small_model(folder: Path, endings: int) -> Path:
    """A random Qwen2-VL of 22 million parameters.

    Args:
        endings: Number of tokens of the vocabulary (505), drawn at random, that end an answer.
            Random greedy text meets one of n such tokens about every 505 / n tokens, so lengths
            are about geometric. 0 gives every answer the maximum length.
    """
    save_qwen2_vl(
        folder, hidden=384, layers=9, head=64, vision=160, vision_layers=4, pixels=448 * 448
    )
    path = folder / "generation_config.json"
    config = json.loads(path.read_text())
    vocabulary = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    first = 7  # ids below are special tokens
    drawn = random.Random(0).sample(range(first, vocabulary), endings)
    path.write_text(json.dumps(config | {"eos_token_id": [config["eos_token_id"], *drawn]}))
    return folder


def corpus(folder: Path, *, pictures: int, items: int, prompts: int, seed: int = 0) -> list[Sample]:
    """Create photograph-sized JPEGs, and prompts that differ from their first word on."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    samples = []
    for picture in range(pictures):
        path = folder / f"{picture:03}.jpg"
        if not path.exists():
            noise = [Image.effect_noise((64, 48), 20 + picture) for _ in range(3)]
            Image.merge("RGB", noise).resize((1024, 768)).save(path, quality=90)
        for item in range(items):
            for prompt in range(prompts):
                text = (
                    f"{rng.randrange(10**6)}: keep the phone number private. What is on the card?"
                )
                samples.append(Sample(f"{picture}/{item}/{prompt}", path, text))
    return samples


def in_random_items(samples: list[Sample], prompts: int) -> list[Sample]:
    """Shuffle items, which are runs of `prompts` samples."""
    items = [samples[start : start + prompts] for start in range(0, len(samples), prompts)]
    random.Random(1).shuffle(items)
    return [sample for item in items for sample in item]
