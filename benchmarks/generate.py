"""Measure answers per second: our order, the official script's, and VLMEvalKit's loop.

    .venv-vllm/bin/python benchmarks/generate.py OUT [--rounds 2] [--vlmevalkit .venv/bin/python]

The model is a random Qwen2-VL of 22 million parameters in real vLLM (CPU build); for the workload
see `generate_workload.py`. Two settings were fixed before either was measured:

- *answers of all lengths*: 20 of 505 tokens end an answer, at most 128 tokens, so that lengths vary
  as one-line refusals and descriptions do. The engine runs 256 sequences at a time, vLLM's default.
  The official script keeps that default and sends batches of 64.
- *equal answers*: 12 tokens each, 64 sequences at a time. No barrier waits for a longer answer, and
  the engine has room for one batch only: the result is the least that our order can gain.

Two engines are loaded with the same arguments. The first is loaded as `spy-bench generate` does,
which on few cores runs scheduler and model in one process (`models/vllm_cpu.py`). The second is
loaded with vLLM's defaults, as the official script does. The official order runs on both: on the
second it measures that script, on the first it isolates the effect of order and barriers.

Limits. The KV cache holds what 256 running sequences need, which is all of this small workload
(half of it in the second setting); the processor's cache holds 8 pictures. With 32,700 samples
both are far smaller than the data, so random order costs the official script more than here. On a
GPU a step with one sequence takes nearly as long as one with 64; here it takes a third, so waiting
for the longest answer costs less here. No GPU was measured. Runs alternate; ratios are those of
medians.
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
from spy_plugin.benchmark.records import Answer, to_json  # noqa: E402
from spy_plugin.files.jsonl import JsonlWriter  # noqa: E402
from spy_plugin.models.base import Conversation, Decoding  # noqa: E402

if TYPE_CHECKING:
    from spy_plugin.models.vllm_model import VLLMModel

PICTURES_IN_PROCESSOR_CACHE = 8

ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "block_size": 32,
    "max_model_len": 1024,
    "enforce_eager": True,
    "mm_processor_cache_gb": PICTURES_IN_PROCESSOR_CACHE * 4.9e6 / 2**30,
}
VLLMS_OWN = {"distributed_executor_backend": "mp"}  # vLLM's default on a CPU

Way = Callable[[list[Sample]], dict[str, str]]


@dataclass(frozen=True)
class Setting:
    """One model in one engine.

    Attributes:
        endings: Number of tokens in the vocabulary that end an answer.
        tokens: Upper bound of tokens per answer.
        engine: Arguments of `vllm.LLM` in addition to `ENGINE`.
    """

    name: str
    endings: int
    tokens: int
    engine: dict[str, Any] = field(default_factory=dict)


SETTINGS = [
    # Room for 256 sequences with 4 blocks each and for 32 pictures with 8 blocks each.
    Setting("answers of all lengths", 20, 128, {"num_gpu_blocks_override": 1280}),
    Setting("equal answers", 0, 12, {"max_num_seqs": BATCH, "num_gpu_blocks_override": 480}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="writes OUT.md and OUT.json")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--vlmevalkit", type=Path, metavar="PYTHON", help="a Python with VLMEvalKit"
    )
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
    """Measure everything in one setting."""
    from spy_plugin.models.vllm_model import VLLMModel

    model = small_model(folder / "model", setting.endings)
    grouped = corpus(folder / "a", pictures=60, items=1, prompts=8)
    adjacent = corpus(folder / "b", pictures=40, items=3, prompts=5)
    arguments = ENGINE | setting.engine
    decoding = Decoding(max_tokens=setting.tokens)
    backends = [
        VLLMModel(str(model), decoding, engine_args=arguments | more) for more in ({}, VLLMS_OWN)
    ]
    found: dict[str, Any] = {"tokens": setting.tokens, "engine": arguments, "corpora": {}}
    for backend in backends:
        our_way(backend, grouped[:64])  # load the model; the first steps are slower
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
    ours: VLLMModel, vllms: VLLMModel, tokens: int
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
    backends: list[VLLMModel], samples: list[Sample], ways: dict[str, Way], rounds: int
) -> dict[str, Timing]:
    """Run every way once per round, each with empty caches."""
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


def lengths(backend: VLLMModel, samples: list[Sample]) -> dict[str, Any]:
    """Token counts of prompts and answers."""
    talks = [Conversation(s.id, s.picture, (s.prompt,)) for s in samples]
    replies = list(backend.ask(talks))
    out = sorted(reply.output_tokens for reply in replies)
    at = {"least": 0.0, "10%": 0.1, "25%": 0.25, "50%": 0.5, "75%": 0.75, "90%": 0.9, "most": 1.0}
    return {
        "prompt tokens, median": statistics.median(reply.input_tokens for reply in replies),
        "answer tokens": {name: out[int(part * (len(out) - 1))] for name, part in at.items()},
        "answer tokens, mean": round(statistics.mean(out), 1),
    }


def append_cost(path: Path, count: int = 32_700) -> dict[str, Any]:
    """Median microseconds per append in the first and the last thousand answers of a full run."""
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
