"""`spy-bench models`: the models that are known by name, and the exact command to run one."""

from __future__ import annotations

import argparse
import difflib
import json
import shlex
from typing import TYPE_CHECKING, Any

from spy_plugin.errors import SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.registry.schema import Model

HOSTS = ("vlmeval", "lmms-eval", "vllm")
LORA_NAME = "vision"
"""The name under which a server offers the model with its picture adapter."""
_HINT = (
    "VLMEvalKit takes each of these names. Weights, and the command for each host: "
    "spy-bench models NAME"
)


_TINY = "spy-tiny-"
WITHOUT_DOWNLOAD = {
    "spy-always-answer": "answers everything",
    "spy-always-refuse": "refuses everything",
    "spy-literal": "obeys the user's line to the letter and is blind to roles",
    "spy-oracle": "is always right",
    f"{_TINY}random": "is untrained, to try the whole path",
    f"{_TINY}base": "is the lab's model before it learns to obey: it answers everything",
    f"{_TINY}ncap": "is the lab's model after the paper's method of training",
}
"""What needs no download -> what it does: the reference policies, and the package's tiny models."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="name, alias or hub id")
    parser.add_argument("--host", choices=HOSTS, help="only this host")
    parser.add_argument("--json", action="store_true", help="the entries as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table, or everything about one model."""
    from spy_plugin.registry.catalog import find_model, models, resolve_model

    if args.name and resolve_model(args.name) is None:
        args.name = _closest_without_download(args.name)
    if args.name in WITHOUT_DOWNLOAD:
        return _run_without_download(args)
    chosen = (find_model(args.name),) if args.name else models()
    if args.json:
        entries = [model.model_dump(mode="json", exclude_none=True) for model in chosen]
        print(json.dumps(entries[0] if args.name else entries, ensure_ascii=False))
    elif args.name and args.host:
        print(command(chosen[0], args.host))
    elif args.name:
        print(describe(chosen[0]))
    else:
        print(table(chosen, args.host))
    return 0


def _closest_without_download(name: str) -> str:
    """Return one of `WITHOUT_DOWNLOAD` in any case; another name unchanged.

    Raises:
        SpyBenchError: the name is close to one of them.
    """
    folded = name.casefold().replace("_", "-")
    close = difflib.get_close_matches(folded, WITHOUT_DOWNLOAD, n=3, cutoff=0.7)
    if folded in WITHOUT_DOWNLOAD or not close:
        return folded if folded in WITHOUT_DOWNLOAD else name
    raise SpyBenchError(f"no model is called {name!r}. Did you mean {', '.join(close)}?")


def _run_without_download(args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps({"name": args.name, "note": WITHOUT_DOWNLOAD[args.name]}))
    elif args.host:
        print(_command_without_download(args.name, args.host))
    else:
        print(_describe_without_download(args.name))
    return 0


def command(model: Model, host: str) -> str:
    """The command line that runs `model` on the benchmark in a host, or serves it."""
    if host == "vlmeval":
        return f"spy-bench run vlmeval -- --data SPYBench --model {model.name}"
    if host == "lmms-eval":
        lmms = model.lmms
        arguments = ",".join(f"{name}={_value(value)}" for name, value in lmms.arguments.items())
        words = ["lmms-eval", "--model", lmms.model, "--model_args", arguments]
        return shlex.join([*words, "--tasks", "spy_bench", "--output_path", "outputs"])
    return _serve(model)


def _serve(model: Model) -> str:
    if model.vllm is None:
        return f"# {model.display_name} is served by its provider, not by vLLM"
    weights, first = model.hub_id, ""
    if model.vllm.lora:  # vLLM wants the adapter as a folder
        weights, first = model.name, f"hf download {model.hub_id} --local-dir {model.name}\n"
    words = ["vllm", "serve", weights, "--served-model-name", model.name]
    for name, value in model.vllm.engine_arguments.items():
        option = "--" + name.replace("_", "-")
        words += [option] if value is True else [option, _value(value)]
    if model.vllm.remote_code:
        words.append("--trust-remote-code")
    if model.vllm.lora:
        words += ["--lora-modules", f"{LORA_NAME}={weights}/{model.vllm.lora}"]
    return first + shlex.join(words)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def table(models: tuple[Model, ...], host: str | None) -> str:
    """One line per model, then those that need no weights; at most 100 columns wide."""
    return "\n".join([*_columns(_rows(models, host)), "", *_without_download(), "", _HINT])


def _rows(models: tuple[Model, ...], host: str | None) -> list[list[str]]:
    """Cells of the table: all hosts in a word each, or one host and its name of each model."""
    if host:
        header = ["model", "size", host]
        return [header, *([model.name, _size(model), _way(model, host)] for model in models)]
    rows = [["model", "size", "licence", "lmms-eval", "vllm"]]
    for model in models:
        served = "yes" if model.vllm else ""
        rows.append([model.name, _size(model), model.licence, model.lmms.model, served])
    return rows


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _without_download() -> list[str]:
    rows = [[name, words] for name, words in WITHOUT_DOWNLOAD.items()]
    return ["without a download: reference policies, then tiny models", *_columns(rows)]


def _command_without_download(name: str, host: str) -> str:
    """The command line that runs one of `WITHOUT_DOWNLOAD` in a host, or without one."""
    tiny = name.startswith(_TINY)
    if host == "vlmeval":
        data = "SPYBench_LAB" if tiny else "SPYBench_MINI"
        return f"spy-bench run vlmeval -- --data {data} --model {name}"
    if host == "lmms-eval":
        model = name if tiny else f"spy_policy --model_args model={name}"
        tasks = "spy_bench_lab" if tiny else "spy_bench_mini"
        return f"lmms-eval --model {model} --tasks {tasks} --output_path outputs"
    if host == "vllm":
        return f"# {name} is not served by vLLM"
    backend, data = ("transformers", "lab") if tiny else ("policy", "mini")
    return f"spy-bench generate --backend {backend} --model {name} --benchmark {data}"


def _describe_without_download(name: str) -> str:
    lines = [f"{name}: {WITHOUT_DOWNLOAD[name]}"]
    for host in (*HOSTS[:2], "without a host"):
        lines += ["", f"{host}:", f"  {_command_without_download(name, host)}"]
    return "\n".join(lines)


def _way(model: Model, host: str) -> str:
    """How a host runs a model, in a word."""
    if host == "lmms-eval":
        return model.lmms.model
    if host == "vllm":
        return model.hub_id
    return model.vlmeval.key or model.name


def _size(model: Model) -> str:
    return f"{model.parameters:.1f}B" if model.parameters else ""


def describe(model: Model) -> str:
    """Everything that is known of a model, and how each host runs it."""
    facts = {
        "name": model.name,
        "aliases": ", ".join(model.aliases),
        "weights": model.hub_id,
        "base": model.base,
        "parameters": _size(model),
        "licence": model.licence,
        "key from": model.api.key_variable if model.api else "",
        "note": model.note,
    }
    lines = [model.display_name]
    lines += [f"  {name:<11} {value}" for name, value in facts.items() if value]
    lines += [f"  published   {p.figure}: {p.value} ({p.source})" for p in model.published]
    for host in HOSTS:
        lines += ["", f"{host}:", *(f"  {line}" for line in command(model, host).splitlines())]
    return "\n".join(lines)
