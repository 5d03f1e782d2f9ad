"""`spy-bench merge`: the answers of all shards of a run -> one file."""

from __future__ import annotations

import argparse
import shlex

from spy_plugin.cli.option_types import file_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "shards", nargs="+", type=file_path, metavar="SHARD", help="files of `generate --shard`"
    )
    parser.add_argument(
        "--out",
        type=file_path,
        metavar="FILE",
        help="answers (default: MODEL_DATASET_answers.jsonl beside the first shard)",
    )


def run(args: argparse.Namespace) -> int:
    """Merge."""
    from spy_plugin.benchmarks import DRAWN
    from spy_plugin.runs.merging import merge

    path, about = merge(args.shards, args.out)
    print(f"{about.samples} samples of {len(args.shards)} shards")
    print(f"answers: {path}")
    if about.benchmark in DRAWN:  # another one may need the folder that the shards were given
        print(f"verdicts: {shlex.join(['spy-bench', 'judge', str(path)])}")
    return 0
