"""`spy-bench generate`: a benchmark's samples -> a file of a model's answers."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    open_from_arguments,
    words_not_recorded,
)
from spy_plugin.cli.export_run import add_target, check, give
from spy_plugin.cli.model_options import add_batch_arguments, add_model_arguments
from spy_plugin.cli.option_types import file_path, positive_int

if TYPE_CHECKING:
    from spy_plugin.benchmark.records import Sample
    from spy_plugin.benchmark.samples import Benchmark
    from spy_plugin.models.base import Model
    from spy_plugin.runs.answer_file import AnswerFile
    from spy_plugin.runs.metadata import RunMetadata

OUTPUTS = Path("outputs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_benchmark_arguments(parser)
    parser.add_argument(
        "--no-distractors", action="store_true", help="only the asked label's instruction line"
    )
    parser.add_argument(
        "--out",
        type=file_path,
        metavar="FILE",
        help="answers (default: outputs/MODEL_DATASET_answers.jsonl)",
    )
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N samples")
    parser.add_argument(
        "--shard", metavar="I/N", help="only the I-th of N parts; put together by spy-bench merge"
    )
    add_batch_arguments(parser)
    add_target(parser)
    add_model_arguments(parser, required=True)


def run(args: argparse.Namespace) -> int:
    """Generate what is missing or failed, now or in a batch, or say what that would take."""
    from spy_plugin.cli.model_options import model_from_arguments
    from spy_plugin.data.pictures import check_images
    from spy_plugin.models.build import model_name
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
    # A dry run asks nobody, so it needs no key.
    key = "dry-run" if args.dry_run else None
    with model_from_arguments(args, benchmark, api_key=key) as model:
        about = describe_run(
            benchmark,
            model,
            name=model_name(args.model),
            distractors=not args.no_distractors,
            image_first=image_first,
            shard=shard,
        )
        check(args.hand_to, None, about.dataset)
        out = args.out or answers_path(OUTPUTS, about)
        work = Work(benchmark, model, about, out, samples)
        if args.dry_run:
            print("\n".join(_estimate(args, work)))
            return 0
        if args.batch:
            return _batch(args, work)
        return _generate(args, work)


@dataclass(frozen=True)
class Work:
    """What there is to generate, and where it goes.

    Attributes:
        samples: All that the file may hold.
    """

    benchmark: Benchmark
    model: Model
    run: RunMetadata
    out: Path
    samples: list[Sample]

    def open_file(self, args: argparse.Namespace) -> AnswerFile:
        """Open the file of answers, which checks that this run may resume it."""
        from spy_plugin.runs.answer_file import AnswerFile

        return AnswerFile(self.out, self.run, self.samples, other_server=args.other_server)


def _generate(args: argparse.Namespace, work: Work) -> int:
    from spy_plugin.cli.progress import answers_bar, say_if_paid_twice
    from spy_plugin.generation.generate import generate, open_samples

    say_if_paid_twice(work.out, "samples")
    with work.open_file(args) as file:
        wanted = work.samples[: args.limit]
        todo = open_samples(wanted, file.records)
        with answers_bar(file, len(wanted), len(todo), work.model.status) as progress:
            generate(
                todo,
                work.benchmark,
                work.model,
                file,
                image_first=args.image_position != "last",
                progress=progress,
            )
    return summarize(file, args)


def _estimate(args: argparse.Namespace, work: Work) -> list[str]:
    """What asking for the open samples takes, in lines; nothing is opened or asked."""
    from spy_plugin.benchmark.records import last_records
    from spy_plugin.generation.cost import estimate
    from spy_plugin.generation.generate import open_samples
    from spy_plugin.runs.answer_file import StoredAnswer
    from spy_plugin.runs.submitted import submitted_keys

    records = last_records(work.out, StoredAnswer)[0] if work.out.exists() else {}
    waiting = submitted_keys(work.out)
    wanted = work.samples[: args.limit]
    todo = [s for s in open_samples(wanted, records) if s.sample_id not in waiting]
    lines = [
        f"model {work.model.name}, {len(wanted)} samples, {len(todo)} to ask, {len(waiting)} in "
        "batches already"
    ]
    if work.model.backend != "openai":
        return [*lines, "no call and no cost: it runs here"]
    found = estimate(
        todo,
        work.benchmark,
        work.model.model,
        work.model.decoding.max_tokens,
        tuple(args.price) if args.price else None,
    )
    return [*lines, *found.lines(), "an estimate; pictures by OpenAI's published formula"]


def _batch(args: argparse.Namespace, work: Work) -> int:
    from spy_plugin.generation.batch import AnswerBatches, batch_model
    from spy_plugin.generation.generate import open_samples
    from spy_plugin.runs.submitted import batch_file, refuse_unsubmitted

    model = batch_model(work.model)
    if args.batch != "submit":
        refuse_unsubmitted(batch_file(work.out))
    with work.open_file(args) as file:
        batches = AnswerBatches(model, file)
        if args.batch == "submit":
            print("\n".join(_estimate(args, work)), flush=True)
            todo = open_samples(work.samples[: args.limit], file.records)
            image_first = args.image_position != "last"
            print("\n".join(batches.submit(todo, work.benchmark, image_first=image_first)))
            return 0
        if args.batch == "status":
            print("\n".join(batches.status()))
            return 0
        batches.collect()
    return summarize(file, args)


def summarize(file: AnswerFile, args: argparse.Namespace) -> int:
    """Say what there is now and what to do next; returns the exit code."""
    from spy_plugin.cli.progress import counts

    print(counts(file))
    outcomes = file.outcomes()
    if outcomes["failed"]:
        batch = getattr(args, "batch", None)
        again = "--batch submit again, or without --batch" if batch else "the same command again"
        print(f"to ask again what failed: run {again}")
    print(f"answers: {file.path}")
    if not outcomes["answered"]:
        print("nothing was answered: see the errors in the file")
        return 1
    if shard := file.run.options.get("shard"):
        print(f"when all shards are done: spy-bench merge {_all_shards(file.path, shard)}")
    else:
        words = ["spy-bench", "judge", str(file.path), *words_not_recorded(args)]
        print(f"verdicts: {shlex.join(words)}")
    if args.hand_to:
        give(args, file.records.values(), file.samples, file.run)
    return 0


def _all_shards(path: Path, shard: str) -> str:
    """A shell pattern for the files of all shards; a placeholder if `--out` named this one."""
    number, count = shard.split("/")
    before, part, after = path.name.rpartition(f"_shard-{number}-of-{count}_")
    if not part:
        return "SHARD ..."
    return f"{shlex.quote(str(path.parent / before))}_shard-*-of-{count}_{after}"
