"""The command-line options of `generate` and `self-moderate`."""

from __future__ import annotations

import argparse

from spy_plugin.cli.option_types import above_zero, json_object, natural, not_negative, positive
from spy_plugin.models.build import BACKENDS, BackendOptions


def add_model_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Which model, and how it is run or asked."""
    parser.add_argument("--backend", choices=BACKENDS, required=required, help="who runs it")
    parser.add_argument(
        "--model",
        required=required,
        metavar="NAME",
        help="a name of `spy-bench models`; for vllm also a folder or hub id, for openai also the "
        "server's name of it",
    )
    decoding = parser.add_argument_group(
        "decoding",
        "default: greedy, 512 new tokens; reasoning models: temperature 1, no limit",
    )
    decoding.add_argument("--temperature", type=not_negative, metavar="T")
    decoding.add_argument("--max-tokens", type=natural, metavar="N", help="0 for no limit")
    decoding.add_argument("--seed", type=natural, metavar="N")
    decoding.add_argument(
        "--image-position",
        choices=("first", "last"),
        help="the picture before the text, or after it (default: first, which is several times "
        "faster where prefixes are cached)",
    )
    server = parser.add_argument_group("openai", "the key comes from OPENAI_API_KEY alone")
    server.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible /v1")
    server.add_argument(
        "--concurrency", type=positive, default=16, metavar="N", help="requests at a time"
    )
    server.add_argument(
        "--retries", type=natural, default=5, metavar="N", help="after a first failure"
    )
    server.add_argument(
        "--timeout", type=above_zero, default=600.0, metavar="S", help="seconds a request"
    )
    server.add_argument(
        "--request-args",
        type=json_object,
        default={},
        metavar="JSON",
        help="further fields of each request",
    )
    engine = parser.add_argument_group("vllm")
    engine.add_argument(
        "--engine-args",
        type=json_object,
        default={},
        metavar="JSON",
        help='arguments of vllm.LLM, as in {"tensor_parallel_size": 2}',
    )


def backend_options(args: argparse.Namespace) -> BackendOptions:
    """What `add_model_arguments` got, for `build_backend`."""
    return BackendOptions(
        base_url=args.base_url,
        concurrency=args.concurrency,
        retries=args.retries,
        timeout=args.timeout,
        request=args.request_args,
        engine_args=args.engine_args,
    )
