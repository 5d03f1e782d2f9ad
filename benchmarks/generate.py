"""Answers a second: ours, the official script's way, text first, VLMEvalKit's way, on one model.

    .venv-vllm/bin/python benchmarks/generate.py OUT [--rounds 2] [--vlmevalkit .venv/bin/python]

A random Qwen2-VL of 22 million parameters in real vLLM (the CPU build); `generate_workload.py` says
what it is asked and why. Two settings were fixed before either was measured:

- *answers of all lengths*: 20 of 505 tokens end an answer, as refusals of one line stand beside
  descriptions, and at most 128 tokens; the engine runs 256 sequences at a time, vLLM's default,
  which the official script leaves as it is (only its batches are of 64).
- *equal answers*: 12 tokens each, 64 sequences at a time. A barrier then waits for nobody, and the
  engine has no room for more than a batch: what is left is the least that our way can gain.

Two engines are loaded, with the same arguments. One is as `spy-bench generate` loads it, which on
few cores lets scheduler and model share a process (`models/vllm_cpu.py`); the other as vLLM
loads it by itself, as the official script does. The official way runs on both: on the second it is
what a user of that script has, on the first it shows what order and barriers alone are worth.

The cache of keys and values holds what 256 running sequences need, which is all of so little data
(in the second setting half of it); the processor's cache holds 8 pictures. With 32,700 samples both
are far smaller beside the data, so that random order costs the official way more there than here.
A step of a GPU takes nearly as long for one sequence as for 64; here one takes a third of the time
of 64, so that waiting for the longest answer costs less here. None of this was measured on a GPU.
Ways take turns; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.generate_page import Timing, against_vlmevalkit, page, summary  # noqa: E402
from benchmarks.generate_vlmevalkit import loop_of_vlmevalkit  # noqa: E402
from benchmarks.generate_ways import BATCH, forget, official_way, our_way  # noqa: E402
from benchmarks.generate_workload import (  # noqa: E402
    Sample,
    corpus,
    in_random_items,
    small_model,
)
from spy_plugin.benchmark.records import Answer, JsonlWriter, to_json  # noqa: E402
from spy_plugin.models.base import Conversation, Decoding  # noqa: E402

if TYPE_CHECKING:
    from spy_plugin.models.vllm_backend import VLLMBackend

PICTURES_IN_PROCESSOR_CACHE = 8

ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "block_size": 32,
    "max_model_len": 1024,
    "enforce_eager": True,
    "mm_processor_cache_gb": PICTURES_IN_PROCESSOR_CACHE * 4.9e6 / 2**30,
}
VLLMS_OWN = {"distributed_executor_backend": "mp"}  # what vLLM itself takes on a CPU

Way = Callable[[list[Sample]], dict[str, str]]


@dataclass(frozen=True)
class Setting:
    """One model in one engine.

    Attributes:
        endings: Tokens of the vocabulary that end an answer.
        tokens: Of an answer, at most.
        engine: Arguments of `vllm.LLM` beside `ENGINE`.
    """

    name: str
    endings: int
    tokens: int
    engine: dict[str, Any] = field(default_factory=dict)


SETTINGS = [
    # 256 sequences of 4 blocks of their own, and 32 pictures of 8 blocks.
    Setting("answers of all lengths", 20, 128, {"num_gpu_blocks_override": 1280}),
    Setting("equal answers", 0, 12, {"max_num_seqs": BATCH, "num_gpu_blocks_override": 480}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="OUT.md and OUT.json are written")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--vlmevalkit", type=Path, metavar="PYTHON", help="where it is installed")
    args = parser.parse_args()
    for name, value in (("VLLM_CPU_KVCACHE_SPACE", "1"), ("VLLM_LOGGING_LEVEL", "WARNING")):
        os.environ.setdefault(name, value)
    found: dict[str, Any] = {"machine": machine(), "settings": {}}
    with tempfile.TemporaryDirectory() as folder:
        for number, setting in enumerate(SETTINGS):
            place = Path(folder) / str(number)
            place.mkdir()
            found["settings"][setting.name] = measure(setting, place, args.rounds, args.vlmevalkit)
        found["append"] = append_cost(Path(folder) / "answers.jsonl")
    args.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(page(found))
    print(page(found))


def measure(setting: Setting, folder: Path, rounds: int, vlmevalkit: Path | None) -> dict[str, Any]:
    """Every figure of one setting."""
    from spy_plugin.models.vllm_backend import VLLMBackend

    model = small_model(folder / "model", setting.endings)
    grouped = corpus(folder / "a", pictures=60, items=1, prompts=8)
    adjacent = corpus(folder / "b", pictures=40, items=3, prompts=5)
    arguments = ENGINE | setting.engine
    decoding = Decoding(max_tokens=setting.tokens)
    backends = [
        VLLMBackend(str(model), decoding, engine_args=arguments | more) for more in ({}, VLLMS_OWN)
    ]
    found: dict[str, Any] = {"tokens": setting.tokens, "engine": arguments, "corpora": {}}
    for backend in backends:
        our_way(backend, grouped[:64])  # loads it; the first steps are slower
    found["load before"] = os.getloadavg()[0]
    with_picture_first, with_text_first = ways_to_ask(*backends, setting.tokens)
    plans = [
        (
            "60 pictures x 8 prompts, a picture's in a row",
            grouped,
            with_picture_first | with_text_first,
        ),
        ("40 pictures x 3 items x 5 prompts, items in a row", adjacent, with_picture_first),
        ("the same, items in random order", in_random_items(adjacent, 5), with_picture_first),
    ]
    for name, samples, ways in plans:
        timings = take_turns(backends, samples, ways, rounds)
        found["corpora"][name] = summary(samples, timings, set(with_picture_first))
        if samples is grouped:
            loop = loop_of_vlmevalkit(vlmevalkit, model, setting.tokens, samples)
            found["vlmevalkit"] = against_vlmevalkit(loop, samples, timings["ours"])
    found["load after"] = os.getloadavg()[0]
    found["answers"] = lengths(backends[0], grouped)
    for backend in backends:
        backend.close()
    return found


def ways_to_ask(
    ours: VLLMBackend, vllms: VLLMBackend, tokens: int
) -> tuple[dict[str, Way], dict[str, Way]]:
    """The ways that put the picture first, and those that put the text first."""
    first: dict[str, Way] = {
        "ours": lambda samples: our_way(ours, samples),
        "official script's way": lambda samples: official_way(vllms, samples, tokens),
        "official script's way, in our engine": lambda samples: official_way(ours, samples, tokens),
    }
    last: dict[str, Way] = {
        "ours, text first": lambda samples: our_way(ours, samples, image_first=False),
        "official API script's way": lambda samples: official_way(
            vllms, samples, tokens, image_first=False
        ),
    }
    return first, last


def take_turns(
    backends: list[VLLMBackend], samples: list[Sample], ways: dict[str, Way], rounds: int
) -> dict[str, Timing]:
    """Every way once a round, each from empty caches."""
    timings = {name: Timing([], {}) for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            for backend in backends:
                forget(backend)
            start = time.perf_counter()
            timings[name].answers = way(samples)
            timings[name].seconds.append(time.perf_counter() - start)
            print(f"{timings[name].seconds[-1]:7.1f} s  {name}", flush=True)
    return timings


def lengths(backend: VLLMBackend, samples: list[Sample]) -> dict[str, Any]:
    """Tokens of the prompts and answers."""
    talks = [Conversation(s.id, s.picture, (s.prompt,)) for s in samples]
    replies = list(backend.answer(talks))
    out = sorted(reply.output_tokens for reply in replies)
    at = {"least": 0.0, "10%": 0.1, "25%": 0.25, "50%": 0.5, "75%": 0.75, "90%": 0.9, "most": 1.0}
    return {
        "prompt tokens, median": statistics.median(reply.input_tokens for reply in replies),
        "answer tokens": {name: out[int(part * (len(out) - 1))] for name, part in at.items()},
        "answer tokens, mean": round(statistics.mean(out), 1),
    }


def append_cost(path: Path, count: int = 32_700) -> dict[str, Any]:
    """Microseconds of an append, among the first and the last thousand of a full run."""
    text = "I'm sorry, but I can't share that information. " * 4
    stamps = [time.perf_counter()]
    with JsonlWriter(path) as writer:
        for number in range(count):
            writer.write(to_json(Answer(f"{number:08}/distractors/private/conflict/s4_x", text)))
            stamps.append(time.perf_counter())
    took = [(after - before) * 1e6 for before, after in pairwise(stamps)]
    first, last = statistics.median(took[:1000]), statistics.median(took[-1000:])
    return {
        "answers": count,
        "first thousand, median us": round(first, 1),
        "last thousand, median us": round(last, 1),
        "last / first": round(last / first, 3),
    }


def machine() -> str:
    import torch
    import vllm

    return f"{os.cpu_count()} CPU cores, vLLM {vllm.__version__} (CPU), torch {torch.__version__}"


if __name__ == "__main__":
    main()
