"""`spy-bench samples`: print every sample in protocol order, as JSON lines."""

from __future__ import annotations

import argparse
import json

from spy_plugin.cli.benchmark_options import add_benchmark_arguments, open_from_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_benchmark_arguments(parser)
    parser.add_argument(
        "--no-distractors", action="store_true", help="only the instruction line of the asked label"
    )


def run(args: argparse.Namespace) -> int:
    """Print one JSON object per line."""
    benchmark = open_from_arguments(args)
    for sample in benchmark.samples(distractors=not args.no_distractors):
        row = {
            "sample_id": sample.sample_id,
            "benchmark_id": sample.benchmark_id,
            "label": sample.label,
            "is_privacy": sample.is_privacy,
            "scenario": sample.scenario and sample.scenario.key,
            "question_id": sample.question_id,
            "image_path": sample.image_path,
            "question": sample.question,
            "prompt": sample.prompt,
            "label_words": sample.label_words,
            "gt": sample.gt,
        }
        print(json.dumps(row, ensure_ascii=False))
    return 0
