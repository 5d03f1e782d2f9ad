"""`spy-bench self-moderate`: answers -> the model's answers after two turns of self-moderation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.cli.benchmark_options import add_benchmark_arguments, open_for_answers
from spy_plugin.cli.export_run import add_target, check
from spy_plugin.cli.model_options import add_model_arguments
from spy_plugin.cli.option_types import file_path
from spy_plugin.errors import DataError, SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.runs.metadata import RunMetadata

_SAME = ("model", "data", "image position", "decoding")
"""What the later turns must share with the first; the backend may differ."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "answers", type=file_path, help="answers of one model, as `generate` wrote them"
    )
    add_benchmark_arguments(parser, required=False)
    parser.add_argument(
        "--out",
        type=file_path,
        metavar="FILE",
        help="answers (default: MODEL_DATASET_SELF_MOD_answers.jsonl, beside the first ones)",
    )
    add_target(parser)
    add_model_arguments(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Play turns 2 and 3 of what is missing or failed."""
    from spy_plugin.benchmark.answers import read_answers, variant_of
    from spy_plugin.cli.generate import summarize
    from spy_plugin.cli.model_options import model_from_arguments
    from spy_plugin.cli.progress import answers_bar
    from spy_plugin.data.pictures import check_images
    from spy_plugin.generation.self_moderation import open_samples, self_moderate
    from spy_plugin.models.build import model_name
    from spy_plugin.runs.answer_file import AnswerFile
    from spy_plugin.runs.identity import (
        answers_path,
        describe_run,
        read_run,
        refuse_difference,
    )
    from spy_plugin.runs.sharding import Shard, samples_of_shard

    first, source = read_answers(args.answers), read_run(args.answers)
    check(args.hand_to, source and source.options.get("shard"))
    _refuse_moderated(args.answers, source)
    _fill_in(args, source)
    benchmark = open_for_answers(args, args.answers)
    check_images(benchmark)
    distractors, samples = variant_of(benchmark, first, args.answers)
    shard = Shard.parse(source.options["shard"]) if source and source.options["shard"] else None
    if shard:
        samples = samples_of_shard(samples, shard)
    image_first = args.image_position != "last"
    with model_from_arguments(args, benchmark) as model:
        about = describe_run(
            benchmark,
            model,
            name=model_name(args.model),
            distractors=distractors,
            image_first=image_first,
            self_moderation=True,
            shard=shard,
        )
        check(args.hand_to, None, about.dataset)
        if source:
            refuse_difference(args.answers, source, about, _SAME)
        out = args.out or answers_path(args.answers.parent, about)
        with AnswerFile(out, about, samples, other_server=args.other_server) as file:
            todo = open_samples(samples, first.by_id, file)
            with answers_bar(file, len(first.by_id), len(todo), model.status) as progress:
                self_moderate(
                    todo,
                    first.by_id,
                    benchmark,
                    model,
                    file,
                    image_first=image_first,
                    progress=progress,
                )
    if len(first.by_id) < len(samples):
        print(f"{len(samples) - len(first.by_id)} samples have no answer in {args.answers}")
    return summarize(file, args)


def _refuse_moderated(answers: Path, source: RunMetadata | None) -> None:
    """The file that an interrupted run resumes is found from the first answers, not given."""
    if source is not None and source.self_moderation:
        raise DataError(
            "is self-moderated already",
            "Pass the first-turn answers; an interrupted run resumes automatically.",
            path=answers,
        )


def _fill_in(args: argparse.Namespace, source: RunMetadata | None) -> None:
    """Take what the command line leaves open from the first answers' run.

    Raises:
        SpyBenchError: that does not say it either.
    """
    if source is not None:
        from spy_plugin.models.packaged import PACKAGED
        from spy_plugin.registry.catalog import resolve_model

        by_name = source.model in PACKAGED or resolve_model(source.model) is not None
        args.backend = args.backend or source.options["backend"]
        args.model = args.model or (source.model if by_name else source.model_path)
        args.image_position = args.image_position or source.options["image_position"]
        decoding = dict(source.options["decoding"])
        decoding["max_tokens"] = decoding["max_tokens"] or 0  # 0 means no limit there
        for name in ("temperature", "max_tokens", "seed"):
            if getattr(args, name) is None:
                setattr(args, name, decoding[name])
    if not args.backend or not args.model:
        raise SpyBenchError(
            f"nothing beside {args.answers} says which model answered. Name it with --backend and "
            "--model."
        )
