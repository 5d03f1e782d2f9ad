"""The command-line options that choose a judge, shared by `judge` and `judge-check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.cli.option_types import above_zero, json_object, natural, positive
from spy_plugin.judging.base import Judge
from spy_plugin.judging.build import DEFAULT_CACHE, build_judge
from spy_plugin.models.openai_client import quiet_logs


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """All but `--judge` itself, which one command takes once and the other twice."""
    group = parser.add_argument_group(
        "the judge's server", "keys come from JUDGE_API_KEY or OPENAI_API_KEY alone"
    )
    group.add_argument("--judge-base-url", metavar="URL", help="an OpenAI-compatible /v1")
    group.add_argument(
        "--concurrency", type=positive, default=16, metavar="N", help="requests at a time"
    )
    group.add_argument(
        "--retries", type=natural, default=5, metavar="N", help="after a first failure"
    )
    group.add_argument(
        "--timeout", type=above_zero, default=60.0, metavar="S", help="seconds a request"
    )
    group.add_argument(
        "--judge-options",
        type=json_object,
        default={},
        metavar="JSON",
        help='openai: {"structured": "choice" or "json", "extra": {...}}; vllm: engine arguments',
    )
    cache = group.add_mutually_exclusive_group()
    cache.add_argument("--cache", type=Path, metavar="FILE", help="judgements of earlier runs")
    cache.add_argument("--no-cache", action="store_true", help="ask everything anew")


def judge_from_arguments(
    args: argparse.Namespace, name: str | None, protocol: Protocol, *, api_key: str | None = None
) -> Judge:
    """The judge that the options ask for; see `build_judge`."""
    quiet_logs()
    return build_judge(
        name,
        protocol,
        base_url=args.judge_base_url,
        api_key=api_key,
        concurrency=args.concurrency,
        retries=args.retries,
        timeout=args.timeout,
        options=args.judge_options,
        cache=None if args.no_cache else args.cache or DEFAULT_CACHE,
    )
