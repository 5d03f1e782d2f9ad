"""Put a run into a bundle: answers, verdicts, figures and records; no questions, no pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Answer, last_records
from spy_plugin.benchmark.samples import DISTRACTORS, Benchmark, fingerprint
from spy_plugin.benchmarks import EMBEDDED, OFFICIAL, UNPINNED, open_benchmark
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.report.build import load_runs
from spy_plugin.report.comparisons import ReportOptions
from spy_plugin.report.loading import Loaded
from spy_plugin.report.provenance import cut_paths, printable
from spy_plugin.runs.metadata import RunMetadata
from spy_plugin.scoring.resampling import RESAMPLES
from spy_plugin.sharing.bundle_file import write_bundle
from spy_plugin.sharing.records import (
    LARGEST_SEED,
    MOST_RESAMPLES,
    BundledRun,
    compute_figures,
    hash_of,
    to_files,
)

KNOWN = (*EMBEDDED, OFFICIAL, UNPINNED)
"""Benchmarks that a bundle's record may open by name. Any other is the user's to name: a name in a
bundle must not choose what is read."""

_JSONL = (".jsonl", ".jsonl.gz")


def make_bundle(
    run: Path,
    out: Path,
    *,
    benchmark: Benchmark | None = None,
    force: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[str]:
    """Write the bundle of every model and condition in a run.

    Args:
        benchmark: What the samples were; by default what the run's record names.
        force: Replace a file that exists.

    Returns:
        What the bundle lacks and holds, for the user.

    Raises:
        SpyBenchError: `out` exists, the run has no record, or a bundle cannot hold so many
            resamples or such a seed.
        NoResultsError: the run holds no results.
        DataError: a file of the run is broken, or the benchmark is not the run's.
    """
    if out.exists() and not force:
        raise SpyBenchError(f"{out} exists. Name another file, or replace it with --force.")
    if resamples > MOST_RESAMPLES or seed > LARGEST_SEED:
        raise SpyBenchError(
            f"a bundle takes at most {MOST_RESAMPLES:,} resamples, and seeds up to "
            f"{LARGEST_SEED:,}. Give smaller numbers."
        )
    remarks: list[str] = []
    files: dict[str, bytes] = {}
    loaded = load_runs([run], ReportOptions(), remarks)
    if not loaded:
        raise SpyBenchError(f"{run} holds no verdicts of SPY-Bench. Give the folder of such a run.")
    for number, entry in enumerate(loaded, 1):
        bundled = _bundled(entry, benchmark, remarks, resamples, seed)
        files |= to_files(bundled, f"runs/{number}")
    write_bundle(out, files)
    return remarks


def _bundled(
    entry: Loaded, benchmark: Benchmark | None, remarks: list[str], resamples: int, seed: int
) -> BundledRun:
    metadata = entry.result.metadata
    path = entry.result.verdicts
    if metadata is None:
        raise DataError(
            "has no record of its run beside it (*_spy.json)",
            "Give the folder of a run that spy-bench, VLMEvalKit or lmms-eval wrote.",
            path=path,
        )
    name = f"{metadata.model} on {metadata.dataset}"
    answers = _answers(path.parent / Path(metadata.answers).name, metadata)
    if answers is None:
        remarks.append(f"{name}: its host kept no file of answers that can be checked")
    opened = benchmark or open_known(metadata.benchmark)
    samples = None
    if opened is None:
        remarks.append(
            f"{name}: the benchmark is not available here, so its samples have no hashes; "
            "name it with --release or --questions"
        )
    else:
        asked = list(opened.samples(distractors=metadata.variant == DISTRACTORS))
        if metadata.data_fingerprint not in ("", fingerprint(asked)):
            raise DataError(
                f"was measured on other data ({metadata.data_fingerprint}) than this benchmark's "
                f"({fingerprint(asked)})",
                "Name the benchmark that the run was on.",
                path=path,
            )
        samples = [hash_of(sample) for sample in asked]
    verdicts = last_records(path, StoredVerdict)[0].values()
    return BundledRun(
        run=_public(metadata),
        verdicts=[_without_paths(verdict) for verdict in verdicts],
        figures=compute_figures(entry.table, resamples=resamples, seed=seed),
        answers=answers,
        samples=samples,
    )


def _without_paths(verdict: StoredVerdict) -> StoredVerdict:
    """Return a verdict without paths in its errors, and without the judge's thoughts."""
    asked = verdict.disclosure
    return replace(
        verdict,
        error=cut_paths(verdict.error),
        judge_thoughts="",
        disclosure=asked and replace(asked, error=cut_paths(asked.error)),
    )


def open_known(name: str) -> Benchmark | None:
    """Open a benchmark that a run's record names; None if it is not one of ours or not here."""
    if name not in KNOWN:
        return None
    try:
        return open_benchmark(name)
    except SpyBenchError:
        return None


def _answers(path: Path, metadata: RunMetadata) -> Sequence[Answer] | None:
    if not (path.name.endswith(_JSONL) and path.is_file()):
        return None
    with_thoughts = metadata.protocol.name.endswith("+thoughts")
    found = read_answers(path, with_thoughts=with_thoughts).by_id.values()
    return [replace(answer, error=cut_paths(answer.error)) for answer in found]


def _public(metadata: RunMetadata) -> RunMetadata:
    """Return a run's record without paths, and without the host's command line."""
    options: dict[str, Any] = {k: v for k, v in metadata.options.items() if k != "argv"}
    return printable(metadata.model_copy(update={"options": options}))
