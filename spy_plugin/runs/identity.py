"""What a file of answers is the answers of: written beside it before the first answer.

`x_answers.jsonl` has `x_run.json`: a `RunMetadata` without a judge. It lets a run be gone on with
under the same conditions only, and tells `spy-bench judge` and the report what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from spy_plugin import __version__
from spy_plugin.benchmark.answers import ANSWERS_SUFFIX, answers_stem
from spy_plugin.benchmark.samples import Benchmark, fingerprint
from spy_plugin.benchmarks import EMBEDDED, OFFICIAL
from spy_plugin.errors import DataError
from spy_plugin.models.base import Backend, Decoding
from spy_plugin.registry.catalog import variants
from spy_plugin.runs.metadata import (
    VERDICTS_SUFFIX,
    JudgeInfo,
    ProtocolInfo,
    RunMetadata,
    run_files,
)
from spy_plugin.runs.sharding import Shard, samples_of_shard

RUN_SUFFIX = "_run.json"
SELF_MODERATION_SUFFIX = "_SELF_MOD"

OFFICIAL_IMAGE_FIRST = {"vllm": True, "openai": False}
"""Where the official scripts put the picture, by backend."""

NOBODY = JudgeInfo(name="")
"""Answers are there, and no judge has seen them."""


def describe_run(
    benchmark: Benchmark,
    backend: Backend,
    decoding: Decoding,
    *,
    model: str,
    distractors: bool = True,
    image_first: bool = True,
    self_moderation: bool = False,
    shard: Shard | None = None,
) -> RunMetadata:
    """The metadata of a run that is about to begin.

    Args:
        model: Its name in tables and files; what the backend was given may be a path.
    """
    samples = list(benchmark.samples(distractors=distractors))
    part = samples_of_shard(samples, shard) if shard else samples
    protocol = benchmark.protocol
    if image_first != OFFICIAL_IMAGE_FIRST[backend.name]:
        protocol = protocol.with_image("first" if image_first else "last")
    return RunMetadata(
        host="spy-bench",
        host_version=__version__,
        dataset=dataset_name(benchmark.name, distractors, self_moderation),
        model=model,
        model_path=backend.model,
        variant="distractors" if distractors else "no_distractors",
        self_moderation=self_moderation,
        benchmark=benchmark.name,
        data_fingerprint=fingerprint(samples),
        samples=len(samples),
        protocol=ProtocolInfo(name=protocol.name, fingerprint=protocol.fingerprint),
        judge=NOBODY,
        seed=decoding.seed,
        spy_bench_version=__version__,
        started=datetime.now(timezone.utc),
        options={
            "backend": backend.name,
            "image_position": "first" if image_first else "last",
            "decoding": asdict(decoding),
            "settings": dict(backend.settings),
            "shard": str(shard) if shard else "",
            "shard_samples": len(part),
        },
    )


def dataset_name(benchmark: str, distractors: bool, self_moderation: bool = False) -> str:
    """The data set's name in files: VLMEvalKit's."""
    known = benchmark if benchmark in EMBEDDED else OFFICIAL
    name = next(
        variant.vlmeval
        for variant in variants()
        if (variant.benchmark, variant.distractors) == (known, distractors)
    )
    return name + SELF_MODERATION_SUFFIX if self_moderation else name


def run_file(answers: Path) -> Path:
    """`x_answers.jsonl` -> `x_run.json`."""
    return answers.with_name(answers_stem(answers) + RUN_SUFFIX)


def read_run(answers: Path) -> RunMetadata | None:
    """What is known of a file of answers; None if nothing was written beside it."""
    path = run_file(answers)
    return RunMetadata.read(path) if path.exists() else None


def begin_or_go_on(answers: Path, run: RunMetadata) -> RunMetadata:
    """Write the run file, or check that the file's earlier answers were given under `run`.

    Returns:
        The run as it stands in the file, with what earlier sittings took.

    Raises:
        DataError: the answers were given by another model, or under other conditions.
    """
    earlier = read_run(answers)
    started = answers.exists() and answers.stat().st_size > 0
    if earlier is not None and started:
        refuse_difference(answers, earlier, run)
        return earlier
    if started:
        raise DataError(
            f"holds answers, but {run_file(answers).name}, which says whose they are, is missing",
            "Give another file with --out, or move this one away.",
            path=answers,
        )
    run.write(run_file(answers))
    return run


def refuse_difference(
    answers: Path, earlier: RunMetadata, run: RunMetadata, names: Iterable[str] = ()
) -> None:
    """Compare whatever may change an answer.

    Args:
        names: Which of the `conditions`, if not all.

    Raises:
        DataError: naming both values of what differs.
    """
    before, now = conditions(earlier), conditions(run)
    differing = [name for name in names or now if before.get(name) != now[name]]
    if differing:
        was = ", ".join(f"{name} {before.get(name) or 'unknown'}" for name in differing)
        is_now = ", ".join(f"{name} {now[name] or 'none'}" for name in differing)
        raise DataError(
            f"was begun with {was}; this run has {is_now}",
            "Go on with the same options, or give another file with --out.",
            path=answers,
        )


def conditions(run: RunMetadata) -> dict[str, str]:
    """Whatever may change an answer, and which samples are meant, in words."""
    decoding = dict(run.options.get("decoding") or {})
    settings = dict(run.options.get("settings") or {})
    return {
        "model": run.model,
        "weights": run.model_path,
        "backend": str(run.options.get("backend", "")),
        "data set": run.dataset,
        "data": run.data_fingerprint,
        "protocol": f"{run.protocol.name} ({run.protocol.fingerprint})",
        "image position": str(run.options.get("image_position", "")),
        "decoding": ", ".join(f"{name}={value}" for name, value in sorted(decoding.items())),
        "settings": ", ".join(f"{name}={value}" for name, value in sorted(settings.items())),
        "shard": str(run.options.get("shard", "")),
    }


def answers_path(folder: Path, run: RunMetadata) -> Path:
    """`{model}_{dataset}_answers.jsonl`, as `run_metadata.run_files` names a run's other files."""
    shard = str(run.options.get("shard") or "").replace("/", "-of-")
    dataset = f"{run.dataset}_shard-{shard}" if shard else run.dataset
    verdicts, _ = run_files(folder, run.model, dataset)
    return verdicts.with_name(verdicts.name.removesuffix(VERDICTS_SUFFIX) + ANSWERS_SUFFIX)
