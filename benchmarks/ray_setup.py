"""What `ray_engines.py` measures with: a model of Qwen2-VL-7B's shape, an engine that waits."""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.generate_workload import Sample
from spy_plugin.models.base import Conversation, Decoding, Model, Reply
from spy_plugin.models.watchdog import _descendants

if TYPE_CHECKING:
    from benchmarks.workload import Size

MEAN = 120
"""Mean tokens of a reply."""


SHARES = (0.1, 0.5, 0.9, 0.99, 1.0)
"""Parts of the replies whose times are noted: how long the engines take to fill and to empty."""


@dataclass(frozen=True)
class Setup:
    """What every way is given.

    Attributes:
        corpora: As many samples of other pictures for each repetition.
        arguments: More arguments of the engine.
    """

    folder: Path
    corpora: list[list[Sample]]
    warm: list[Sample]
    engines: int
    memory: float
    eager: bool
    fake: bool
    arguments: dict[str, Any]

    @property
    def samples(self) -> list[Sample]:
        """Those of the first repetition."""
        return self.corpora[0]


class Clocked:
    """A model that notes when each of its replies came, in seconds since it was asked."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.times: list[float] = []

    def ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield the model's replies."""
        start = time.perf_counter()
        for reply in self.model.ask(conversations):
            self.times.append(time.perf_counter() - start)
            yield reply

    def after(self) -> dict[str, float]:
        """The seconds after which each of `SHARES` of the replies had come."""
        last = len(self.times) - 1
        return {f"{share:.0%}": round(self.times[round(last * share)], 2) for share in SHARES}


class Waiting(Model):
    """An engine that waits for a hundredth of a second and repeats the question."""

    backend, model, settings = "fake", "fake", {}
    decoding = Decoding()
    loaded = False

    def load(self) -> None:
        time.sleep(0 if self.loaded else 1)
        self.loaded = True

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            time.sleep(0.01)
            yield Reply(conversation.key, echo(conversation.image, conversation.turns[0]))


def echo(image: object, prompt: str) -> str:
    return f"{image}: {prompt}"


def save_shape(folder: Path, name: str, vocabulary: int | None = None) -> Path:
    """Save everything but the weights of a model with a Qwen2-VL's shape, by its name there.

    Args:
        vocabulary: Instead of the shape's. The tokenizer knows 505 tokens, and only those are seen
            in a text. With so few, no token ends a reply.
    """
    from transformers import AutoProcessor, Qwen2VLConfig

    from benchmarks.workload import SIZES
    from spy_plugin.models import tiny_random

    size, source = SIZES[name], tiny_random.build()
    size = replace(size, vocabulary=vocabulary or size.vocabulary)
    config = Qwen2VLConfig.from_pretrained(source)
    text, seen = config.text_config, config.vision_config
    half = size.width // size.heads // 2
    mrope = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    text.vocab_size, text.hidden_size = size.vocabulary, size.width
    text.intermediate_size, text.num_hidden_layers = size.mlp, size.layers
    text.layer_types, text.max_position_embeddings = ["full_attention"] * size.layers, 32768
    text.num_attention_heads, text.num_key_value_heads = size.heads, size.key_value_heads
    text.rope_parameters = {**text.rope_parameters, "mrope_section": mrope}
    seen.embed_dim, seen.depth = size.vision_width, size.vision_layers
    seen.hidden_size = size.width
    seen.num_heads = size.vision_heads
    config.architectures = ["Qwen2VLForConditionalGeneration"]
    config.tie_word_embeddings = size.tied
    config.save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(source)
    processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 1024 * 28 * 28}
    processor.save_pretrained(folder)
    save_adapter(folder / "adapter", size)
    known = range(min(600, size.vocabulary), size.vocabulary)
    endings = random.Random(0).sample(known, len(known) // MEAN)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": endings}))
    return folder


def save_adapter(folder: Path, size: Size) -> None:
    """Save a LoRA adapter of random weights, large enough to change texts."""
    import torch
    from safetensors.torch import save_file

    rank, generator = 8, torch.Generator().manual_seed(0)
    layers = [
        f"base_model.model.model.language_model.layers.{n}.self_attn.o_proj"
        for n in range(size.layers)
    ]
    shapes = {"lora_A": (rank, size.width), "lora_B": (size.width, rank)}
    weights = {
        f"{layer}.{part}.weight": torch.randn(shape, generator=generator) / 8
        for layer in layers
        for part, shape in shapes.items()
    }
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["o_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def conversations(samples: list[Sample]) -> list[Conversation]:
    return [Conversation(sample.id, sample.picture, (sample.prompt,)) for sample in samples]


def counted(replies: list[Reply]) -> dict[str, Any]:
    """How many samples were answered, how many twice, and what the others met."""
    answered = {reply.key for reply in replies if reply.outcome is None}
    missed = Counter(f"{r.outcome}: {r.error[:80]}" for r in replies if r.outcome is not None)
    doubled = len(replies) - len({reply.key for reply in replies})
    return {"answered": len(answered), "doubled": doubled, "missed": dict(missed)}


def engine_processes() -> list[int]:
    """The processes of this process's engines on Ray."""
    names = {pid: Path(f"/proc/{pid}/cmdline") for pid in _descendants([os.getpid()])}
    return [pid for pid, name in names.items() if b"ray::Worker" in name.read_bytes()]


def answers_at(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False
