"""What `ray_engines.py` measures with: a model of Qwen2-VL-7B's shape, an engine that waits."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generate_workload import Sample
from spy_plugin.models.base import Conversation, Decoding, Model, Reply
from spy_plugin.models.watchdog import _descendants

MEAN = 120
"""Mean tokens of a reply."""


@dataclass(frozen=True)
class Setup:
    """What every way is given."""

    folder: Path
    samples: list[Sample]
    warm: list[Sample]
    fake: bool


class Waiting(Model):
    """An engine that waits for a hundredth of a second and repeats the question."""

    backend, model, settings = "fake", "fake", {}
    decoding = Decoding()

    def load(self) -> None:
        time.sleep(1)

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            time.sleep(0.01)
            yield Reply(conversation.key, echo(conversation.image, conversation.turns[0]))


def echo(image: object, prompt: str) -> str:
    return f"{image}: {prompt}"


def save_7b(folder: Path) -> Path:
    """Everything but the weights of a model with Qwen2-VL-7B's shape."""
    from transformers import AutoProcessor, Qwen2VLConfig

    from benchmarks.workload import SIZES
    from spy_plugin.models import tiny_random

    size, source = SIZES["7b"], tiny_random.build()
    config = Qwen2VLConfig.from_pretrained(source)
    text, seen = config.text_config, config.vision_config
    text.vocab_size, text.hidden_size = size.vocabulary, size.width
    text.intermediate_size, text.num_hidden_layers = size.mlp, size.layers
    text.layer_types, text.max_position_embeddings = ["full_attention"] * size.layers, 32768
    text.num_attention_heads, text.num_key_value_heads = size.heads, size.key_value_heads
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [16, 24, 24]}
    seen.embed_dim, seen.depth, seen.hidden_size = size.vision_width, 32, size.width
    seen.num_heads = size.vision_heads
    config.architectures, config.tie_word_embeddings = ["Qwen2VLForConditionalGeneration"], False
    config.save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(source)
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 1024 * 28 * 28}
    processor.save_pretrained(folder)
    endings = random.Random(0).sample(range(600, size.vocabulary - 9), size.vocabulary // MEAN)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": endings}))
    return folder


def conversations(samples: list[Sample]) -> list[Conversation]:
    return [Conversation(sample.id, sample.picture, (sample.prompt,)) for sample in samples]


def counted(replies: list[Reply]) -> dict[str, int]:
    """How many samples were answered, and how many replies were more than one per sample."""
    answered = {reply.key for reply in replies if reply.outcome is None}
    return {"answered": len(answered), "doubled": len(replies) - len({r.key for r in replies})}


def engine_processes() -> list[int]:
    """The processes of this process's engines on Ray."""
    names = {pid: Path(f"/proc/{pid}/cmdline") for pid in _descendants([os.getpid()])}
    return [pid for pid, name in names.items() if b"ray::Worker" in name.read_bytes()]


def answers_at(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False
