"""`spy-bench samples`: every sample of a release, in protocol order, as JSON lines."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.questions import load_release


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--release", type=Path, metavar="DIR", help="root of an official release")
    source.add_argument("--mini", action="store_true", help="the embedded benchmark")
    parser.add_argument(
        "--no-distractors", action="store_true", help="only the asked label's instruction line"
    )


def run(args: argparse.Namespace) -> int:
    """Print one JSON object a line."""
    benchmark = open_benchmark("mini") if args.mini else load_release(args.release)
    for sample in benchmark.samples(distractors=not args.no_distractors):
        row = {
            "sample_id": sample.sample_id,
            "benchmark_id": sample.benchmark_id,
            "label": sample.label,
            "is_privacy": sample.is_privacy,
            "scenario": sample.scenario and sample.scenario.key,
            "image_path": sample.image_path,
            "question": sample.question,
            "prompt": sample.prompt,
        }
        print(json.dumps(row, ensure_ascii=False))
    return 0
