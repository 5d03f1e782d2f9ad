"""The command-line options of a model, whether it answers or judges."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields, replace

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.cli.option_types import (
    file_path,
    json_object,
    name,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    positive_int_or_auto,
)
from spy_plugin.judging.base import Judge
from spy_plugin.judging.build import DEFAULT_CACHE, build_judge
from spy_plugin.models.base import Model
from spy_plugin.models.build import BACKENDS, CHAT_BACKENDS, build_model
from spy_plugin.models.openai_client import quiet_logs
from spy_plugin.models.options import JUDGE, MODEL, ModelOptions, Role
from spy_plugin.models.reasoning import CHOICES
from spy_plugin.models.servers import OPENAI_KEY

BATCH_ACTIONS = ("submit", "status", "collect")

JUDGE_NAMES = "rules, minilm, openai:MODEL, vllm:MODEL, transformers:MODEL"


def add_model_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Which model answers, how it decodes, and how it is run or asked."""
    parser.add_argument("--backend", choices=BACKENDS, required=required, help="who runs it")
    parser.add_argument(
        "--model",
        type=name,
        required=required,
        metavar="NAME",
        help="a name of `spy-bench models`; for vllm and transformers also a folder or hub id, "
        "either perhaps with @REVISION; for openai the server's name for it, for policy a "
        "reference policy",
    )
    decoding = parser.add_argument_group(
        "decoding",
        "default: greedy, 512 new tokens; models that reason: temperature 1, no limit",
    )
    decoding.add_argument("--temperature", type=non_negative_float, metavar="T")
    _add_limits(decoding.add_argument, MODEL)
    decoding.add_argument("--seed", type=non_negative_int, metavar="N")
    decoding.add_argument(
        "--image-position",
        choices=("first", "last"),
        help="the picture before the text, or after it (default: first, which is several times "
        "faster where prefixes are cached)",
    )
    _add_backend_arguments(parser, MODEL)
    parser.add_argument(
        "--other-server",
        action="store_true",
        help="resume answers of another server, or another model by its account; the run file "
        "names both",
    )


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """How the judge is run or asked; `--judge` itself is each command's own."""
    _add_backend_arguments(parser, JUDGE, "--judge-base-url")
    group = parser.add_argument_group("judgements")
    _add_limits(group.add_argument, JUDGE)
    group.add_argument(
        "--structured",
        choices=("choice", "json"),
        help="allow nothing but the two words: `choice` in vLLM and at its servers, `json` at "
        "OpenAI",
    )
    cache = group.add_mutually_exclusive_group()
    cache.add_argument("--cache", type=file_path, metavar="FILE", help="judgements of earlier runs")
    cache.add_argument("--no-cache", action="store_true", help="ask everything again")


def _add_limits(add: Callable[..., argparse.Action], role: Role) -> None:
    """Limits of new tokens, and whether the model reasons, on which they depend."""
    add(
        "--max-tokens",
        type=non_negative_int,
        metavar="N",
        help=f"new tokens, 0 for no limit (default: {role.max_tokens})",
    )
    add(
        "--reasoning",
        choices=CHOICES,
        default="auto",
        help="whether it thinks before it answers (default: auto, what `spy-bench models` says, "
        "else by its name, as in o3, gpt-5, gemini-2.5-pro, ...-Thinking)",
    )
    add(
        "--reasoning-max-tokens",
        type=non_negative_int,
        metavar="N",
        help="new tokens of a model that reasons, its thoughts included, 0 for no limit "
        f"(default: --max-tokens if given, else {role.reasoning_max_tokens or 'no limit'})",
    )


def _add_backend_arguments(parser: argparse.ArgumentParser, role: Role, *base_url: str) -> None:
    """The options that both roles spell alike.

    Args:
        base_url: Other spellings of `--base-url`.
    """
    keys = " or ".join(filter(None, [role.key_variable, OPENAI_KEY]))
    server = parser.add_argument_group(
        "openai",
        f"the key comes from {keys}, each sent only to the server it is meant for, or from the "
        "variable that --key-variable names",
    )
    server.add_argument(
        "--base-url",
        *base_url,
        metavar="URL",
        help="an OpenAI-compatible /v1, or an Azure address with ?api-version=",
    )
    server.add_argument(
        "--key-variable", default="", metavar="NAME", help="holds the key of the --base-url"
    )
    server.add_argument(
        "--concurrency", type=positive_int, default=16, metavar="N", help="requests at a time"
    )
    server.add_argument(
        "--retries", type=non_negative_int, default=5, metavar="N", help="after a first failure"
    )
    server.add_argument(
        "--timeout",
        type=positive_float,
        default=role.timeout,
        metavar="S",
        help="seconds a request may take in all, its whole reply included",
    )
    server.add_argument(
        "--request-args",
        type=json_object,
        default={},
        metavar="JSON",
        help="further fields of each request",
    )
    engine = parser.add_argument_group("vllm, transformers")
    engine.add_argument(
        "--engine-args",
        type=json_object,
        default={},
        metavar="JSON",
        help='arguments of vllm.LLM, as in {"tensor_parallel_size": 2}, or of from_pretrained',
    )
    engine.add_argument(
        "--batch-size",
        type=positive_int,
        metavar="N",
        help="conversations that transformers continues together (default: 8)",
    )
    engine.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run Python code of the model's repository on this machine, which some models need",
    )
    engine.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="run engines on Ray: `local` for this machine alone, an address, or by default the "
        "cluster that is there",
    )
    engine.add_argument(
        "--engines",
        type=positive_int_or_auto,
        metavar="N",
        help="engines on Ray, or `auto` for as many as find room (default: auto)",
    )


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked later, or only estimated."""
    parser.add_argument(
        "--batch",
        choices=BATCH_ACTIONS,
        help="OpenAI's Batch API: half the price, within a day; `submit` shows the price first",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="calls, tokens and cost; ask nothing"
    )
    parser.add_argument(
        "--price",
        nargs=2,
        type=non_negative_float,
        metavar=("IN", "OUT"),
        help="dollars for a million tokens, for what it costs",
    )


def model_from_arguments(
    args: argparse.Namespace, benchmark: Benchmark, *, api_key: str | None = None
) -> Model:
    """The model that the options ask for; see `build_model`."""
    quiet_logs()
    options = replace(_options(args), api_key=api_key)
    return build_model(args.backend, args.model, options, benchmark=benchmark)


def add_asking_arguments(parser: argparse.ArgumentParser) -> None:
    """How a model that drafts is run or asked; which one is the command's own option."""
    _add_limits(parser.add_argument_group("drafts").add_argument, MODEL)
    _add_backend_arguments(parser, MODEL)


def split_backend(name: str) -> tuple[str, str]:
    """Return the backend and the model of ``BACKEND:MODEL``; a bare name is a server's."""
    backend, _, model = name.partition(":")
    return (backend, model) if model and backend in CHAT_BACKENDS else ("openai", name)


def drafting_model(args: argparse.Namespace) -> Model:
    """The model that ``--ask`` names; see `build_model`."""
    quiet_logs()
    backend, model = split_backend(args.ask)
    return build_model(backend, model, _options(args))


def judge_from_arguments(
    args: argparse.Namespace, name: str | None, protocol: Protocol, *, api_key: str | None = None
) -> Judge:
    """The judge that the options ask for; see `build_judge`."""
    quiet_logs()
    cache = None if args.no_cache else args.cache or DEFAULT_CACHE
    return build_judge(name, protocol, replace(_options(args), api_key=api_key), cache=cache)


def _options(args: argparse.Namespace) -> ModelOptions:
    """Every option of a model that the command has, by the name of its field."""
    names = {field.name for field in fields(ModelOptions)}
    return ModelOptions(**{name: value for name, value in vars(args).items() if name in names})
