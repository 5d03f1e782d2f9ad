"""Answers a second: ours, the official script's way, text first, VLMEvalKit's way, on one model.

    .venv-vllm/bin/python benchmarks/generate.py OUT [--rounds 2] [--vlmevalkit .venv/bin/python]

A random Qwen2-VL of 22 million parameters in real vLLM (the CPU build); `generate_workload.py` says
what it is asked and why. Two settings were fixed before either was measured:

- *answers of all lengths*: 20 of 505 tokens end an answer, as refusals of one line stand beside
  descriptions, and at most 128 tokens; the engine runs 256 sequences at a time, vLLM's default,
  which the official script leaves as it is (only its batches are of 64).
- *equal answers*: 12 tokens each, 64 sequences at a time. A barrier then waits for nobody, and the
  engine has no room for more than a batch: what is left is the least that our way can gain.

The cache of keys and values holds what 256 running sequences need, which is all of so little data
(in the second setting half of it); the processor's cache holds 8 pictures. With 32,700 samples both
are far smaller beside the data, so that random order costs the official way more there than here.
A step of a GPU takes nearly as long for one sequence as for 64; here one takes a fifth of the time
of 64, so that waiting for the longest answer costs less here. None of this was measured on a GPU.
Ways take turns; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.generate_workload import (  # noqa: E402
    Sample,
    corpus,
    in_random_items,
    small_model,
)
from spy_plugin.generate.base import Conversation, Decoding  # noqa: E402
from spy_plugin.records import Answer, JsonlWriter  # noqa: E402

BATCH = 64  # the official script's, as its page starts it
PICTURES_IN_PROCESSOR_CACHE = 8

ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "block_size": 32,
    "max_model_len": 1024,
    "enforce_eager": True,
    "mm_processor_cache_gb": PICTURES_IN_PROCESSOR_CACHE * 4.9e6 / 2**30,
}


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


@dataclass
class Timing:
    """Seconds of each round, and the answers of the last."""

    seconds: list[float]
    answers: dict[str, str]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="OUT.md and OUT.json are written")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--vlmevalkit", type=Path, metavar="PYTHON", help="where it is installed")
    parser.add_argument("--loop", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop:
        one_at_a_time(args.loop)
        return
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
    from spy_plugin.generate.vllm_backend import VLLMBackend

    model = small_model(folder / "model", setting.endings)
    grouped = corpus(folder / "a", pictures=60, items=1, prompts=8)
    adjacent = corpus(folder / "b", pictures=40, items=3, prompts=5)
    scattered = in_random_items(adjacent, prompts=5)
    decoding = Decoding(max_tokens=setting.tokens)
    backend = VLLMBackend(str(model), decoding, engine_args=ENGINE | setting.engine)
    backend.engine  # noqa: B018 - loads it
    ours = {"ours": lambda samples: our_way(backend, samples)}
    official = {
        "official script's way": lambda samples: official_way(backend, samples, setting.tokens)
    }
    last = {
        "ours, text first": lambda samples: our_way(backend, samples, image_first=False),
        "official API script's way": lambda samples: official_way(
            backend, samples, setting.tokens, image_first=False
        ),
    }
    found: dict[str, Any] = {"load before": os.getloadavg()[0], "corpora": {}}
    our_way(backend, grouped[:64])  # the first steps are slower
    plans = [
        ("60 pictures x 8 prompts, a picture's in a row", grouped, ours | official | last),
        ("40 pictures x 3 items x 5 prompts, items in a row", adjacent, ours | official),
        ("the same, items in random order", scattered, ours | official),
    ]
    for name, samples, ways in plans:
        timings = take_turns(backend, samples, ways, rounds)
        found["corpora"][name] = summary(samples, timings)
        if samples is grouped:
            loop = loop_of_vlmevalkit(vlmevalkit, model, setting, samples, timings["ours"])
            found["vlmevalkit"] = loop
    found["answers"] = lengths(backend, grouped)
    found["load after"] = os.getloadavg()[0]
    backend.close()
    return found


def our_way(backend: Any, samples: list[Sample], *, image_first: bool = True) -> dict[str, str]:
    """A picture's samples in a row, no barrier; every answer goes to a file at once."""
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
        for reply in backend.answer(talks):
            answers[reply.sample_id] = reply.text
            writer.write(Answer(reply.sample_id, reply.text))
    return answers


def official_way(
    backend: Any, samples: list[Sample], tokens: int, *, image_first: bool = True
) -> dict[str, str]:
    """64 samples of the file at a time, each with its picture opened anew; no file is written.

    Args:
        image_first: So for local models; for APIs the text is first (here without a server).
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


def take_turns(
    backend: Any,
    samples: list[Sample],
    ways: dict[str, Callable[[list[Sample]], dict[str, str]]],
    rounds: int,
) -> dict[str, Timing]:
    """Every way once a round, each from empty caches."""
    timings = {name: Timing([], {}) for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            backend.engine.llm.reset_prefix_cache()
            backend.engine.llm.reset_mm_cache()
            backend.engine.llm.llm_engine.reset_encoder_cache()
            start = time.perf_counter()
            timings[name].answers = way(samples)
            timings[name].seconds.append(time.perf_counter() - start)
            print(f"{timings[name].seconds[-1]:7.1f} s  {name}", flush=True)
    return timings


def summary(samples: list[Sample], timings: dict[str, Timing]) -> dict[str, Any]:
    """Seconds, ratios to ours, and whether the answers to equal prompts are equal."""
    ours = timings["ours"]
    out: dict[str, Any] = {"samples": len(samples), "ways": {}}
    for name, timing in timings.items():
        row: dict[str, Any] = {
            "seconds": [round(value, 1) for value in timing.seconds],
            "times ours": round(timing.median / ours.median, 2),
        }
        if name in ("ours", "official script's way"):
            same = sum(ours.answers[key] == text for key, text in timing.answers.items())
            row["same answers"] = f"{same} of {len(samples)}"
        out["ways"][name] = row
    return out


def lengths(backend: Any, samples: list[Sample]) -> dict[str, Any]:
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


def loop_of_vlmevalkit(
    python: Path | None,
    model: Path,
    setting: Setting,
    samples: list[Sample],
    ours: Timing,
) -> dict[str, Any]:
    """One `generate` of transformers after the other, in VLMEvalKit's own process and classes."""
    if python is None or not python.exists():
        return {"skipped": "no Python with VLMEvalKit was given"}
    some = samples[:24]
    task = model.with_name("loop.json")
    rows = [[s.id, str(s.picture), s.prompt] for s in some]
    task.write_text(json.dumps({"model": str(model), "tokens": setting.tokens, "rows": rows}))
    command = [str(python), __file__, "none", "--loop", str(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": f"it failed: {done.stderr[-500:]}"}
    found = json.loads(task.with_suffix(".out").read_text())
    each, own = statistics.median(found["seconds"]) / len(some), ours.median / len(samples)
    same = sum(storable(found["answers"][s.id]) == storable(ours.answers[s.id]) for s in some)
    return {
        "samples": len(some),
        "seconds, by round": [round(value, 1) for value in found["seconds"]],
        "seconds a sample": round(each, 3),
        "ours, seconds a sample": round(own, 3),
        "times ours": round(each / own, 2),
        "same answers": f"{same} of {len(some)}",
    }


def storable(text: str) -> str:
    """What of gibberish both ways keep: no control characters, no half character at the end."""
    marked = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return marked.strip("\ufffd ")


def one_at_a_time(task: Path) -> None:
    """What the other interpreter runs."""
    from spy_plugin.hosts.torchvision_compat import declare_missing_ops

    declare_missing_ops()
    from spy_plugin.hosts.vlmeval.models import HFChat

    wanted = json.loads(task.read_text())
    model = HFChat(wanted["model"], batch_size=1, max_new_tokens=wanted["tokens"], device="cpu")

    def ask(picture: str, prompt: str) -> str:
        message = [{"type": "image", "value": picture}, {"type": "text", "value": prompt}]
        return str(model.generate(message))

    ask(*wanted["rows"][0][1:])
    seconds, answers = [], {}
    for _ in range(2):
        start = time.perf_counter()
        answers = {key: ask(picture, prompt) for key, picture, prompt in wanted["rows"]}
        seconds.append(time.perf_counter() - start)
    task.with_suffix(".out").write_text(json.dumps({"seconds": seconds, "answers": answers}))


def append_cost(path: Path, count: int = 32_700) -> dict[str, Any]:
    """Microseconds of an append, among the first and the last thousand of a full run."""
    text = "I'm sorry, but I can't share that information. " * 4
    stamps = [time.perf_counter()]
    with JsonlWriter(path) as writer:
        for number in range(count):
            writer.write(Answer(f"{number:08}/distractors/private/conflict/s4_x", text))
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


def page(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    return "\n".join(lines(found)) + "\n"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Line by line."""
    yield f"{found['machine']}. Ways take turns; ratios are of medians."
    for setting in SETTINGS:
        part = found["settings"][setting.name]
        yield f"\n## {setting.name.capitalize()}\n"
        yield f"At most {setting.tokens} tokens; engine {ENGINE | setting.engine}."
        yield f"Lengths of the first corpus: {part['answers']}."
        yield f"Load {part['load before']:.1f} before, {part['load after']:.1f} after."
        for name, rows in part["corpora"].items():
            yield f"\n{name} ({rows['samples']} samples)\n"
            yield "| way | seconds, by round | times ours | same answers as ours |"
            yield "|---|---|---|---|"
            for way, row in rows["ways"].items():
                same = row.get("same answers", "another prompt")
                yield f"| {way} | {row['seconds']} | {row['times ours']} | {same} |"
        yield f"\nVLMEvalKit's loop, one prompt after the other: {part['vlmevalkit']}"
    yield f"\nAppending an answer: {found['append']}"


if __name__ == "__main__":
    main()
