"""`spy-bench generate`: a benchmark's samples -> a file of a model's answers."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    as_words,
    open_from_arguments,
)
from spy_plugin.cli.export_run import add_target, check, give
from spy_plugin.cli.model_options import add_model_arguments
from spy_plugin.cli.option_types import positive_int

if TYPE_CHECKING:
    from spy_plugin.runs.answer_file import AnswerFile

OUTPUTS = Path("outputs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_benchmark_arguments(parser)
    parser.add_argument(
        "--no-distractors", action="store_true", help="only the asked label's instruction line"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="answers (default: outputs/MODEL_DATASET_answers.jsonl)",
    )
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N samples")
    parser.add_argument(
        "--shard", metavar="I/N", help="only the I-th of N parts; put together by spy-bench merge"
    )
    add_target(parser)
    add_model_arguments(parser, required=True)


def run(args: argparse.Namespace) -> int:
    """Generate what is missing or failed."""
    from spy_plugin.cli.model_options import model_from_arguments
    from spy_plugin.cli.progress import answers_bar
    from spy_plugin.data.pictures import check_images
    from spy_plugin.generation.generate import generate, open_samples
    from spy_plugin.models.build import model_name
    from spy_plugin.runs.answer_file import AnswerFile
    from spy_plugin.runs.identity import answers_path, describe_run
    from spy_plugin.runs.sharding import Shard, samples_of_shard

    check(args.hand_to, args.shard)
    shard = Shard.parse(args.shard) if args.shard else None
    image_first = args.image_position != "last"
    benchmark = open_from_arguments(args)
    check_images(benchmark)
    samples = list(benchmark.samples(distractors=not args.no_distractors))
    if shard:
        samples = samples_of_shard(samples, shard)
    with model_from_arguments(args, benchmark) as model:
        about = describe_run(
            benchmark,
            model,
            name=model_name(args.model),
            distractors=not args.no_distractors,
            image_first=image_first,
            shard=shard,
        )
        out = args.out or answers_path(OUTPUTS, about)
        file = AnswerFile(out, about, samples, other_server=args.other_server)
        wanted = samples[: args.limit]
        todo = open_samples(wanted, file)
        with answers_bar(file, len(wanted), len(todo), model.status) as progress:
            generate(todo, benchmark, model, file, image_first=image_first, progress=progress)
    return summarize(file, args)


def summarize(file: AnswerFile, args: argparse.Namespace) -> int:
    """Say what there is now and what to do next; returns the exit code."""
    from spy_plugin.cli.progress import counts

    print(counts(file))
    outcomes = file.outcomes()
    if outcomes["failed"]:
        print("to ask again what failed: run the same command again")
    print(f"answers: {file.path}")
    if not outcomes["answered"]:
        print("nothing was answered: see the errors in the file")
        return 1
    if shard := file.run.options.get("shard"):
        print(f"when all shards are done: spy-bench merge {_all_shards(file.path, shard)}")
    else:
        words = ["spy-bench", "judge", str(file.path), *as_words(args)]
        if args.benchmark:  # the embedded ones need no key, in the hosts neither
            words += ["--judge", "rules"]
        print(f"verdicts: {shlex.join(words)}")
    if args.hand_to:
        give(args.hand_to, file.records.values(), file.samples, file.run)
    return 0


def _all_shards(path: Path, shard: str) -> str:
    """A shell pattern for the files of all shards; a placeholder if `--out` named this one."""
    number, count = shard.split("/")
    before, part, after = path.name.rpartition(f"_shard-{number}-of-{count}_")
    if not part:
        return "SHARD ..."
    return f"{shlex.quote(str(path.parent / before))}_shard-*-of-{count}_{after}"
