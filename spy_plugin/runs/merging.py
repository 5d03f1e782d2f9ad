"""The answers of all shards -> one file, as if one run had given them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spy_plugin.benchmark.records import dump_jsonl, last_records
from spy_plugin.errors import DataError
from spy_plugin.files.writing import write_atomically
from spy_plugin.runs.answer_file import StoredAnswer
from spy_plugin.runs.identity import (
    answers_path,
    conditions,
    read_run,
    refuse_difference,
    run_file,
)
from spy_plugin.runs.metadata import RunMetadata, Usage
from spy_plugin.runs.resumable_file import writing
from spy_plugin.runs.sharding import Shard


def merge(paths: Sequence[Path], out: Path | None = None) -> tuple[Path, RunMetadata]:
    """Put the shards of one run together.

    Args:
        out: By default `{model}_{dataset}_answers.jsonl` beside the first shard.

    Returns:
        The merged file and its run, which `generate` can resume like any other.

    Raises:
        DataError: a shard is missing, unfinished, given twice, or of another run; two shards
            share a sample; or `out` exists.
    """
    runs = [_shard_run(path) for path in paths]
    names = [name for name in conditions(runs[0]) if name != "shard"]
    for path, run in zip(paths[1:], runs[1:], strict=True):
        refuse_difference(path, runs[0], run, names)
    _refuse_wrong_set(paths, [Shard.parse(run.options["shard"]) for run in runs])
    merged = _merged(runs)
    target = out or answers_path(paths[0].parent, merged)
    merged = merged.model_copy(update={"answers": target.name})
    _refuse_existing(target, merged)
    answers: dict[str, StoredAnswer] = {}
    for path, run in zip(paths, runs, strict=True):
        found, _ = last_records(path, StoredAnswer)
        missing = run.options["shard_samples"] - len(found)
        if missing:
            raise DataError(
                f"{missing} samples of this shard have no answer yet",
                "Run its command again, then merge.",
                path=path,
            )
        _refuse_overlap(path, answers, found)
        answers |= found
    with writing(target):
        merged.write(run_file(target))
        write_atomically(target, dump_jsonl(answers.values()), private=True)
    return target, merged


def _refuse_existing(target: Path, merged: RunMetadata) -> None:
    """Refuse to replace a file but the run file that a merge left which was stopped then."""
    about = run_file(target)
    left = about.exists() and not target.exists() and RunMetadata.read(about) == merged
    for file in (target, about):
        if file.exists() and not left:
            raise DataError("exists", "Move it away, or name another with --out.", path=file)


def _shard_run(path: Path) -> RunMetadata:
    if not path.exists():
        raise DataError("cannot be read (no such file)", "Check the path.", path=path)
    run = read_run(path)
    part, size = (run.options.get(name) for name in ("shard", "shard_samples")) if run else ("", 0)
    if run is None or not (part and isinstance(part, str) and isinstance(size, int)):
        raise DataError(
            f"is not a shard: {run_file(path).name} does not say which part of a run it is",
            "Give the files that `spy-bench generate --shard` wrote, with their _run.json.",
            path=path,
        )
    return run


def _refuse_wrong_set(paths: Sequence[Path], shards: Sequence[Shard]) -> None:
    count = shards[0].count
    for path, shard in zip(paths, shards, strict=True):
        if shard.count != count:
            raise DataError(
                f"is shard {shard}, but {paths[0].name} is shard {shards[0]}",
                "Merge shards of one division.",
                path=path,
            )
    times = Counter(shard.number for shard in shards)
    twice = [number for number, seen in times.items() if seen > 1]
    if twice:
        raise DataError(f"shard {twice[0]}/{count} is given twice", "Give each shard once.")
    missing = [str(number) for number in range(1, count + 1) if number not in times]
    if missing:
        raise DataError(
            f"of {count} shards, {', '.join(missing)} is not given", "Give all of them."
        )


def _refuse_overlap(
    path: Path, merged: dict[str, StoredAnswer], found: dict[str, StoredAnswer]
) -> None:
    both = next((sample_id for sample_id in found if sample_id in merged), None)
    if both is not None:
        raise DataError(
            "the sample is in another shard, too",
            "Merge the shards of one run, each as it was written.",
            path=path,
            where=f"sample {both}",
        )


def _merged(runs: Sequence[RunMetadata]) -> RunMetadata:
    """One run for all: usage is added up, except for time, since shards run at the same time."""
    usages = [run.usage.get("generate", Usage()) for run in runs]
    total = Usage(
        requests=sum(usage.requests or 0 for usage in usages),
        input_tokens=sum(usage.input_tokens or 0 for usage in usages),
        output_tokens=sum(usage.output_tokens or 0 for usage in usages),
        seconds=max(usage.seconds or 0.0 for usage in usages),
    )
    samples = sum(run.options["shard_samples"] for run in runs)
    return runs[0].model_copy(
        update={
            "started": min((run.started for run in runs if run.started), default=None),
            "finished": max((run.finished for run in runs if run.finished), default=None),
            "usage": {"generate": total},
            "options": runs[0].options | {"shard": "", "shard_samples": samples},
        }
    )
