"""`spy-bench score`: compute the paper's figures from a verdict file, each with its interval."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.cli.benchmark_options import (
    add_benchmark_arguments,
    is_named,
    open_from_arguments,
    refuse_contradiction,
)
from spy_plugin.cli.option_types import file_path
from spy_plugin.cli.resampling_options import add_resampling_arguments
from spy_plugin.scoring.metrics import HMS, ICS, METRICS, Score, compute, privacy_score
from spy_plugin.scoring.rounding import rounded
from spy_plugin.scoring.stats import (
    FEW_PICTURES,
    FIGURES,
    PRIVACY,
    Estimate,
    bounds,
    estimates,
)
from spy_plugin.scoring.verdicts import read_rows

if TYPE_CHECKING:
    from spy_plugin.judging.metadata import TableLabels
    from spy_plugin.runs.metadata import RunMetadata


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "file", type=file_path, help="verdicts: ours, or the official eval/*.jsonl[.gz]"
    )
    parser.add_argument(
        "--verdict-key", metavar="KEY", help="field that holds the verdict (default: detected)"
    )
    parser.add_argument("--json", action="store_true", help="print metrics and by_label as JSON")
    parser.add_argument(
        "--intervals",
        action=argparse.BooleanOptionalAction,
        help="95%% intervals by resampling pictures, and bounds for samples without a verdict "
        "(default: in the table, but not in the JSON)",
    )
    add_resampling_arguments(parser)
    add_benchmark_arguments(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    table = read_rows(args.file, key=args.verdict_key).table(**_labels(args))
    figures = compute(table)
    wanted = not args.json if args.intervals is None else args.intervals
    found = estimates(table, resamples=args.resamples, seed=args.seed) if wanted else None
    limits = bounds(table) if wanted else None
    if args.json:
        print(json.dumps(_as_json(figures, found, limits)))
    else:
        print(render(figures, found, limits))
        print(_partial(_recorded_run(args.file), figures["metrics"]["total"]), end="")
    return 0


def _as_json(
    figures: Mapping[str, Any],
    found: Mapping[str, Estimate] | None,
    limits: Mapping[str, tuple[Score, Score]] | None,
) -> dict[str, Any]:
    out = {name: figures[name] for name in ("metrics", "by_label")}
    if found is not None and limits is not None:
        out["intervals"] = {name: asdict(estimate) for name, estimate in found.items()}
        out["bounds"] = {name: {"worst": w, "best": b} for name, (w, b) in limits.items()}
    return out


def _partial(run: RunMetadata | None, total: int) -> str:
    """A line that says how many samples a partial run did not ask; empty for a whole one."""
    samples = (run and run.samples) or total
    absent = samples - total
    return f"partial run: {absent} of {samples} samples were not asked\n" if absent > 0 else ""


def _recorded_run(verdicts: Path) -> RunMetadata | None:
    """The run file beside verdicts of ours; None without one."""
    from spy_plugin.judging.metadata import judged_run_file
    from spy_plugin.runs.metadata import RunMetadata

    record = judged_run_file(verdicts)
    readable = verdicts.name.endswith(".jsonl") and record.is_file()
    return RunMetadata.read(record) if readable else None


def _labels(args: argparse.Namespace) -> TableLabels:
    """The labels of the benchmark that the options name, or of the verdicts' run file.

    Raises:
        DataError: the two name different benchmarks.
    """
    from spy_plugin.judging.metadata import judged_run_file, labels_of_run
    from spy_plugin.runs.metadata import RunMetadata

    if not (is_named(args) or args.labels or args.images):
        return labels_of_run(_recorded_run(args.file))
    benchmark = open_from_arguments(args)
    record = judged_run_file(args.file)
    if record.exists() and not args.questions:
        refuse_contradiction(args, benchmark.name, record, RunMetadata.read(record))
    return {
        "absolute_labels": benchmark.protocol.absolute_labels,
        "known_labels": tuple(benchmark.label_words),
    }


def render(
    figures: Mapping[str, Any],
    found: Mapping[str, Estimate] | None = None,
    limits: Mapping[str, tuple[Score, Score]] | None = None,
) -> str:
    """Return the overall figures as a text table, with intervals and bounds if they are given."""
    block, outcomes = figures["metrics"], figures["outcomes"]
    missing = block["exception"] > 0 and limits is not None
    lines = [f"{'metric':<36}{'score':>8}{'hits':>9}{'n':>9}"]
    if found is not None:
        lines[0] += f"{'95% interval':>18}" + (f"{'worst .. best':>18}" if missing else "")
    for name in FIGURES:
        line = f"{name:<36}" + _counts(block, name)
        if found is not None:
            line += f"{_span(found[name].low, found[name].high):>18}"
        if missing and limits is not None:
            line += f"{_span(*limits[name]):>18}"
        lines.append(line.rstrip())
    verdicts = ", ".join(f"{name} {count}" for name, count in outcomes.items())
    lines += ["", f"{verdicts} of {block['total']} verdicts"]
    if found is not None:
        images = found[PRIVACY].images
        lines.append(f"intervals from resampled pictures ({images} in the score)")
        if images < FEW_PICTURES:
            lines.append(f"fewer than {FEW_PICTURES} pictures: the intervals are rough")
    return "\n".join(lines)


def _counts(block: Mapping[str, Any], name: str) -> str:
    if name in METRICS:
        counts = block[name]
        return f"{_cell(counts['score']):>8}{counts['expected']:>9}{counts['all']:>9}"
    score = block[HMS] if name == HMS else privacy_score(block[ICS]["score"], block[HMS])
    return f"{_cell(score):>8}{'':>18}"


def _span(low: Score | None, high: Score | None) -> str:
    if low is None or high is None or low == "N/A" or high == "N/A":
        return ""
    return f"{rounded(low)} .. {rounded(high)}"


def _cell(score: Score) -> str:
    return score if isinstance(score, str) else rounded(score)
