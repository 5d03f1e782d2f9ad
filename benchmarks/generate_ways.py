"""The ways of asking that `generate.py` compares: ours and the official script's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generate_workload import Sample
from spy_plugin.benchmark.records import Answer, to_json
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.models.base import Conversation

if TYPE_CHECKING:
    from spy_plugin.models.vllm_model import VLLMModel

BATCH = 64  # batch size in the official instructions


def our_way(
    backend: VLLMModel, samples: list[Sample], *, image_first: bool = True
) -> dict[str, str]:
    """Samples of one picture in a row, without barriers; each answer is written immediately."""
    groups: dict[Path, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.picture, []).append(sample)
    talks = (
        Conversation(sample.id, sample.picture, (sample.prompt,), image_first)
        for group in groups.values()
        for sample in group
    )
    answers = {}
    with tempfile.TemporaryDirectory() as folder, JsonlWriter(Path(folder) / "a.jsonl") as writer:
        for reply in backend.ask(talks):
            answers[reply.key] = reply.text
            writer.write(to_json(Answer(reply.key, reply.text)))
    return answers


def official_way(
    backend: VLLMModel, samples: list[Sample], tokens: int, *, image_first: bool = True
) -> dict[str, str]:
    """Batches of 64 samples in file order; each sample opens its picture again; nothing is written.

    Args:
        image_first: True as in the official script for local models; False as in the one for
            APIs (measured here without a server).
    """
    from PIL import Image
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0.0, max_tokens=tokens)
    answers = {}
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        chats = []
        for sample in batch:
            picture = Image.open(sample.picture).convert("RGB")
            talk = Conversation(sample.id, sample.picture, (sample.prompt,), image_first)
            chats.append(talk.messages({"type": "image_pil", "image_pil": picture}))
        outputs = backend.engine.llm.chat(chats, sampling, use_tqdm=False)
        for sample, output in zip(batch, outputs, strict=True):
            answers[sample.id] = output.outputs[0].text
    return answers


def forget(backend: VLLMModel) -> None:
    """Empty the engine's caches."""
    llm = backend.engine.llm
    llm.reset_prefix_cache()
    llm.reset_mm_cache()
    llm.llm_engine.reset_encoder_cache()
