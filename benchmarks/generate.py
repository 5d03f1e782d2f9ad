"""Answers a second: ours, the official script's way, text first, VLMEvalKit's way, on one model.

    .venv-vllm/bin/python benchmarks/generate.py OUT [--rounds 2] [--vlmevalkit .venv/bin/python]

A random Qwen2-VL of 23 million parameters in real vLLM (the CPU build). What decides the ratios is
how many tokens a picture has against the text about it, and how much of the data the caches hold;
both are meant to be near those of Qwen2-VL-7B on one 80 GB GPU and the published data, which was
not checked on one. Ways take turns; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from spy_plugin.generate.base import Conversation, Decoding  # noqa: E402
from spy_plugin.records import Answer, JsonlWriter  # noqa: E402
from tests.vllm.small_models import save_qwen2_vl  # noqa: E402

TOKENS = 12  # of an answer, at most
BATCH = 64  # the official script's
PICTURES_IN_PROCESSOR_CACHE = 8

ENGINE: dict[str, Any] = {
    "dtype": "float32",
    "block_size": 32,
    "max_model_len": 1024,
    "max_num_seqs": BATCH,
    "enforce_eager": True,
    "num_gpu_blocks_override": 480,  # 15,360 tokens: about a quarter of the second corpus
    "mm_processor_cache_gb": PICTURES_IN_PROCESSOR_CACHE * 4.9e6 / 2**30,
}


@dataclass(frozen=True)
class Sample:
    """A prompt about a picture."""

    id: str
    picture: Path
    prompt: str


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
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.rounds, args.vlmevalkit)
    args.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(page(found))
    print(page(found))


def measure(folder: Path, rounds: int, vlmevalkit: Path | None) -> dict[str, Any]:
    """Every figure of the page."""
    model = small_model(folder / "model")
    grouped = corpus(folder / "a", pictures=60, items=1, prompts=8)
    adjacent = corpus(folder / "b", pictures=40, items=3, prompts=5)
    scattered = in_random_items(adjacent, prompts=5)
    from spy_plugin.generate.vllm_backend import VLLMBackend

    backend = VLLMBackend(str(model), Decoding(max_tokens=TOKENS), engine_args=ENGINE)
    backend.engine  # noqa: B018 - loads it
    ours = {"ours": lambda samples: our_way(backend, samples)}
    official = {"official script's way": lambda samples: official_way(backend, samples)}
    last = {"ours, text first": lambda samples: our_way(backend, samples, image_first=False)}
    found: dict[str, Any] = {"machine": machine(), "load before": os.getloadavg()[0], "rounds": []}
    our_way(backend, grouped[:64])  # the first steps are slower
    plans = [
        ("60 pictures x 8 prompts, a picture's in a row", grouped, ours | official | last),
        ("40 pictures x 3 items x 5 prompts, items in a row", adjacent, ours | official),
        ("the same, items in random order", scattered, ours | official),
    ]
    found["corpora"] = {}
    for name, samples, ways in plans:
        timings = take_turns(backend, samples, ways, rounds)
        found["corpora"][name] = summary(samples, timings)
        if samples is grouped:
            found["vlmevalkit"] = loop_of_vlmevalkit(vlmevalkit, model, samples, timings, folder)
    found["answers"] = lengths(backend, grouped)
    backend.close()
    found["append"] = append_cost(folder / "answers.jsonl")
    found["load after"] = os.getloadavg()[0]
    return found


def small_model(folder: Path) -> Path:
    """23 million parameters, a tenth in the picture's encoder; it ends its answers by itself."""
    save_qwen2_vl(
        folder, hidden=384, layers=9, head=64, vision=192, vision_layers=4, pixels=448 * 448
    )
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    config = json.loads((folder / "config.json").read_text())
    end = config["text_config"]["eos_token_id"]
    # A random row wins over 500 others once in hundreds of tokens; this one once in about 25.
    weights["lm_head.weight"][end] *= 1.75
    save_file(weights, path, metadata={"format": "pt"})
    print(
        f"{sum(w.numel() for w in weights.values()) / 1e6:.1f} M parameters, torch",
        torch.__version__,
    )
    return folder


def corpus(folder: Path, *, pictures: int, items: int, prompts: int) -> list[Sample]:
    """Photograph-sized JPEGs and prompts that differ from their first words on."""
    from PIL import Image

    folder.mkdir()
    rng = random.Random(0)
    samples = []
    for picture in range(pictures):
        path = folder / f"{picture:03}.jpg"
        noise = [Image.effect_noise((64, 48), 20 + picture).resize((1024, 768)) for _ in range(3)]
        Image.merge("RGB", noise).save(path, quality=90)
        for item in range(items):
            for prompt in range(prompts):
                text = (
                    f"{rng.randrange(10**6)}: keep the phone number private. What is on the card?"
                )
                samples.append(Sample(f"{picture}/{item}/{prompt}", path, text))
    return samples


def in_random_items(samples: list[Sample], prompts: int) -> list[Sample]:
    """Items (runs of `prompts` samples) in random order."""
    items = [samples[start : start + prompts] for start in range(0, len(samples), prompts)]
    random.Random(1).shuffle(items)
    return [sample for item in items for sample in item]


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


def official_way(backend: Any, samples: list[Sample]) -> dict[str, str]:
    """`LLM.chat` on 64 samples of the file at a time, each with its picture opened anew."""
    from PIL import Image
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0.0, max_tokens=TOKENS)
    answers = {}
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        chats = [
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_pil",
                            "image_pil": Image.open(sample.picture).convert("RGB"),
                        },
                        {"type": "text", "text": sample.prompt},
                    ],
                }
            ]
            for sample in batch
        ]
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
        if name != "ours, text first":
            same = sum(ours.answers[key] == text for key, text in timing.answers.items())
            row["same answers"] = f"{same} of {len(samples)}"
        out["ways"][name] = row
    return out


def lengths(backend: Any, samples: list[Sample]) -> dict[str, Any]:
    """Tokens of the prompts and answers of one sample in eight."""
    talks = [Conversation(s.id, s.picture, (s.prompt,)) for s in samples[::8]]
    replies = list(backend.answer(talks))
    out = sorted(reply.output_tokens for reply in replies)
    return {
        "prompt tokens, median": statistics.median(reply.input_tokens for reply in replies),
        "answer tokens, quartiles": [
            out[len(out) // 4],
            out[len(out) // 2],
            out[3 * len(out) // 4],
        ],
    }


def loop_of_vlmevalkit(
    python: Path | None,
    model: Path,
    samples: list[Sample],
    timings: dict[str, Timing],
    folder: Path,
) -> dict[str, Any]:
    """One `generate` of transformers after the other, in VLMEvalKit's own process and classes."""
    if python is None or not python.exists():
        return {"skipped": "no Python with VLMEvalKit was given"}
    some = samples[:24]
    task = folder / "loop.json"
    rows = [[s.id, str(s.picture), s.prompt] for s in some]
    task.write_text(json.dumps({"model": str(model), "rows": rows}))
    command = [str(python), __file__, "none", "--loop", str(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": f"it failed: {done.stderr[-500:]}"}
    found = json.loads(task.with_suffix(".out").read_text())
    ours = timings["ours"]
    each, own = found["seconds"] / len(some), ours.median / len(samples)
    same = sum(storable(found["answers"][s.id]) == storable(ours.answers[s.id]) for s in some)
    return {
        "samples": len(some),
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
    model = HFChat(wanted["model"], batch_size=1, max_new_tokens=TOKENS, device="cpu")

    def ask(picture: str, prompt: str) -> str:
        message = [{"type": "image", "value": picture}, {"type": "text", "value": prompt}]
        return str(model.generate(message))

    ask(*wanted["rows"][0][1:])
    start = time.perf_counter()
    answers = {key: ask(picture, prompt) for key, picture, prompt in wanted["rows"]}
    seconds = time.perf_counter() - start
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
    loads = f"load {found['load before']:.1f} before, {found['load after']:.1f} after"
    yield f"{found['machine']}; {loads}. Ways take turns; ratios are of medians."
    yield f"Prompts and answers: {found['answers']}."
    for name, part in found["corpora"].items():
        yield f"\n{name} ({part['samples']} samples)\n"
        yield "| way | seconds, by round | times ours | same answers as ours |\n|---|---|---|---|"
        for way, row in part["ways"].items():
            same = row.get("same answers", "another prompt")
            yield f"| {way} | {row['seconds']} | {row['times ours']} | {same} |"
    yield f"\nVLMEvalKit's loop, one prompt after the other: {found['vlmevalkit']}"
    yield f"\nAppending an answer: {found['append']}"


if __name__ == "__main__":
    main()
