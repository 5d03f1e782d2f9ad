"""A SPY-Tune folder and a model of a real shape to train on, for the benchmarks of training.

The rows have the tokens of `../docs/training.md`'s case: pictures of 1024 x 768 (about 1,000
tokens for Qwen2-VL), 8 rows each, 85 prompt tokens beside the picture, answers of 8 words. Words
are drawn at random, and the tokenizer is trained on them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.workload import SIZES, build_model

TEMPLATE = """
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
<|im_start|>{{ message.role }}
{% if message.content is string -%}{{ message.content }}{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif 'text' in part -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
""".strip()

SPECIAL_TOKENS = {
    "<|endoftext|>": 5,
    "<|im_start|>": 6,
    "<|im_end|>": 7,
    "<|vision_end|>": 4,
    "<|vision_start|>": 3,
    "<|video_pad|>": 2,
    "<|image_pad|>": 1,
}
"""Their ids, counted from the end of the vocabulary, where `workload.build_model` wants them."""

LABELS = {
    "a1_birth": "date of birth",
    "a2_plate": "number plate",
    "a3_receipt": "shop receipt",
    "a4_owner": "owner of a vehicle",
    "a5_name": "family name",
    "a6_address": "home address",
    "a7_belief": "religious belief",
    "a8_phone": "phone number",
    "a9_health": "medical history",
    "a10_politics": "political view",
}


def write_data(folder: Path, pictures: int, rows: int, seed: int = 0) -> Path:
    """Write `train_data.json`, its label words and its pictures; `rows` items for each picture."""
    draw = random.Random(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index in range(pictures):
        _picture(seed + index).save(folder / "images" / f"{index}.jpg", quality=90)
    items = [_item(draw, picture, row) for picture in range(pictures) for row in range(rows)]
    (folder / "label2text.json").write_text(json.dumps(LABELS))
    (folder / "train_data.json").write_text(json.dumps({"data_list": items}))
    return folder


def write_model(folder: Path, size: str, dtype: Any, device: Any) -> Path:
    """Save a Qwen2-VL of random weights and its processor, as `from_pretrained` reads them."""
    import torch

    torch.manual_seed(0)
    model = build_model(SIZES[size], dtype, device)
    model.save_pretrained(folder, max_shard_size="4GB")
    write_processor(folder, SIZES[size].vocabulary)
    return folder


def write_processor(folder: Path, vocabulary: int) -> None:
    """Save the processor of a Qwen2-VL, with a tokenizer trained on the case's words."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size={"shortest_edge": 200_704, "longest_edge": 1_003_520}),
        _tokenizer(vocabulary),
        Qwen2VLVideoProcessor(),
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(folder)


def _tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(4_000, vocabulary - 8),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(random.Random(1)), trainer)
    # Special tokens stand at the end of the vocabulary, where the model's configuration has them.
    state = json.loads(tokenizer.to_str())
    known = state["model"]["vocab"]
    known |= {f"unused {index}": index for index in range(len(known), vocabulary - 7)}
    tokenizer = Tokenizer.from_str(json.dumps(state))
    ordered = sorted(SPECIAL_TOKENS, key=SPECIAL_TOKENS.__getitem__, reverse=True)
    tokenizer.add_special_tokens(ordered)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


WORDS = [
    f"{first}{second}"
    for first in ("ba", "ko", "li", "mu", "ner", "sta", "tre", "vo", "wil", "zan")
    for second in ("bel", "dor", "fin", "gal", "hem", "kin", "lor", "mas", "nad", "per")
]


def _sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def _texts(draw: random.Random) -> Iterator[str]:
    for _ in range(2_000):
        yield f"{_sentence(draw, 8)}."
    for label in LABELS.values():
        for line in ("You may freely talk about: {}.", "Keep this confidential: {}."):
            yield from [line.format(label)] * 20
    yield from ["system\nYou are a helpful assistant.\nuser\nassistant\n"] * 20


def _item(draw: random.Random, picture: int, row: int) -> dict[str, Any]:
    label, *others = draw.sample(list(LABELS), 6)
    return {
        "benchmark_id": f"{picture:05d}{row:03d}",
        "label": label,
        "other_labels": {**{each: draw.randint(0, 1) for each in others}, label: 0.5},
        "question_item": {
            "question_id": f"{picture}-{row}",
            "image_id": f"picture-{picture}",
            "image_path": f"images/{picture}.jpg",
            "question": f"{_sentence(draw, 12)}?",
            "respond_ans": f"{_sentence(draw, 8)}.",
            "reject_ans": f"{_sentence(draw, 8)}.",
        },
        "non_privacy_scenarios": [],
        "privacy_scenarios": [],
        "chosen_scenarios": [],
    }


def _picture(seed: int) -> Image.Image:
    """Soft shapes under fine noise: a photograph's work for decoder and processor."""
    draw = np.random.default_rng(seed)
    shapes = Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    smooth = np.asarray(shapes.resize((1024, 768), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = smooth + draw.integers(-12, 13, smooth.shape, dtype=np.int16)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
