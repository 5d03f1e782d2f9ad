"""The identity of a run: what its answers answer, written beside them before the first one.

`x_answers.jsonl` has `x_run.json`: a `RunMetadata` without a judge. It allows a run to be resumed
only under the same conditions, and tells `spy-bench judge` and the report what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spy_plugin import __version__
from spy_plugin.benchmark.answers import ANSWERS_SUFFIX, answers_stem
from spy_plugin.benchmark.own_names import PREFIX
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.benchmarks import DRAWN, EMBEDDED, OFFICIAL, OWN
from spy_plugin.errors import DataError
from spy_plugin.models.base import LOCAL_BACKENDS, Model
from spy_plugin.models.repositories import split_revision
from spy_plugin.registry.catalog import variants
from spy_plugin.runs.metadata import VERDICTS_SUFFIX, RunMetadata, new_run, run_files
from spy_plugin.runs.sharding import Shard, samples_of_shard

RUN_SUFFIX = "_run.json"
SELF_MODERATION_SUFFIX = "_SELF_MOD"

_NOT_READABLE = (
    "It says whose answers lie beside it. Restore it from a copy; or move it away to judge the "
    "answers without it; or move both away, or give another file with --out, to start again."
)


def describe_run(
    benchmark: Benchmark,
    model: Model,
    *,
    name: str,
    distractors: bool = True,
    image_first: bool = True,
    self_moderation: bool = False,
    shard: Shard | None = None,
) -> RunMetadata:
    """The metadata of a run that is about to begin.

    Args:
        name: The model's name in tables and files; what was loaded may be a path.
    """
    samples = list(benchmark.samples(distractors=distractors))
    part = samples_of_shard(samples, shard) if shard else samples
    protocol = benchmark.protocol if image_first else benchmark.protocol.with_picture_last()
    identity = model.identity
    weights: str = identity.pop("model")
    return new_run(
        benchmark.name,
        samples,
        protocol,
        host="spy-bench",
        host_version=__version__,
        dataset=dataset_name(benchmark.name, distractors, self_moderation),
        model=name,
        model_path=weights,
        model_revision=split_revision(weights)[1] if model.backend in LOCAL_BACKENDS else "",
        distractors=distractors,
        self_moderation=self_moderation,
        seed=model.decoding.seed,
        started=datetime.now(timezone.utc),
        options={
            **identity,
            "image_position": "first" if image_first else "last",
            "shard": str(shard) if shard else "",
            "shard_samples": len(part),
        },
    )


def dataset_name(benchmark: str, distractors: bool, self_moderation: bool = False) -> str:
    """The data set's name in files: VLMEvalKit's, or one like it for a split that hosts lack."""
    if benchmark in DRAWN and benchmark not in EMBEDDED:
        plain = dataset_name(benchmark.removesuffix("-validation"), distractors, self_moderation)
        return f"{plain}_VALIDATION"
    known = OWN if benchmark.startswith(PREFIX) else benchmark
    known = known if known in (*EMBEDDED, OWN) else OFFICIAL
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
    """Read the run file of a file of answers; None if there is none.

    Raises:
        DataError: it is torn, or not a run file.
    """
    path = run_file(answers)
    return RunMetadata.read(path, _NOT_READABLE) if path.exists() else None


def begin_or_resume(answers: Path, run: RunMetadata, *, other_server: bool = False) -> RunMetadata:
    """Write the run file, or check that the file's earlier answers were given under `run`.

    Args:
        other_server: Another server may answer now; the run file then names both.

    Returns:
        The run as the file has it, with the usage of earlier sittings.

    Raises:
        DataError: the answers were given by another model, or under other conditions.
    """
    if answers.exists() and answers.stat().st_size > 0:
        earlier = read_run(answers)
        if earlier is not None:
            return _resumed(answers, earlier, run, other_server)
        raise DataError(
            f"holds answers, but {run_file(answers).name}, which says whose they are, is missing",
            "Give another file with --out, or move this one away.",
            path=answers,
        )
    run.write(run_file(answers))
    return run


def _resumed(
    answers: Path, earlier: RunMetadata, run: RunMetadata, other_server: bool
) -> RunMetadata:
    """The earlier run, if `run` may resume it.

    Raises:
        DataError: it may not.
    """
    before, now = (about.options.get("server") for about in (earlier, run))
    if other_server and before != now:
        servers = [*earlier.options.get("earlier_servers", []), before]
        options = earlier.options | {"server": now, "earlier_servers": servers}
        earlier = earlier.model_copy(update={"options": options})
        refuse_difference(answers, earlier, run)
        earlier.write(run_file(answers))
    refuse_difference(answers, earlier, run)
    return earlier


def refuse_difference(
    answers: Path, earlier: RunMetadata, run: RunMetadata, names: Iterable[str] = ()
) -> None:
    """Compare the conditions that may change an answer.

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
            "Resume with the same options, or give another file with --out."
            + (" To record both servers, add --other-server." if differing == ["server"] else ""),
            path=answers,
        )


def conditions(run: RunMetadata) -> dict[str, str]:
    """The conditions that may change an answer, and the samples that are asked, in words."""

    def option(name: str) -> str:
        return str(run.options.get(name) or "")

    return {
        "model": run.model,
        "weights": run.model_path,
        "backend": option("backend"),
        "server": option("server"),
        "data set": run.dataset,
        "data": run.data_fingerprint,
        "protocol": f"{run.protocol.name} ({run.protocol.fingerprint})",
        "image position": option("image_position"),
        "decoding": _in_words(run.options.get("requested_decoding") or run.options.get("decoding")),
        "settings": _in_words(run.options.get("settings")),
        "shard": option("shard"),
    }


def _in_words(values: Any) -> str:
    if not isinstance(values, dict):
        return str(values or "")
    return ", ".join(f"{name}={value}" for name, value in sorted(values.items()))


def answers_path(folder: Path, run: RunMetadata) -> Path:
    """`{model}_{dataset}_answers.jsonl`, as `metadata.run_files` names a run's other files."""
    shard = str(run.options.get("shard") or "").replace("/", "-of-")
    dataset = f"{run.dataset}_shard-{shard}" if shard else run.dataset
    verdicts, _ = run_files(folder, run.model, dataset)
    return verdicts.with_name(verdicts.name.removesuffix(VERDICTS_SUFFIX) + ANSWERS_SUFFIX)
