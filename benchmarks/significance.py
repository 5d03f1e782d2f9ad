"""Measure the false alarms and the power of the p values on simulated models.

    python -m benchmarks.significance [--runs 1000] [--resamples 2000] [--images 27 60 200 1000]

Verdicts are clustered by picture: some pictures are harder than others, for both models alike. A
run simulates two models and compares them, as `spy-bench report` does. Writes a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from spy_plugin.scoring.compare import differences, label_differences
from spy_plugin.scoring.metrics import ACCURACY, HMS, ICS
from spy_plugin.scoring.simulation import two_models
from spy_plugin.scoring.stats import PRIVACY
from spy_plugin.scoring.table import VerdictTable
from tests.simulated import mirrored_models

FIGURES = {"Privacy": PRIVACY, "ICS": ICS, "HMS": HMS}
ALPHA = 0.05

Models = tuple[VerdictTable, VerdictTable]


@dataclass(frozen=True)
class Case:
    """A row of the table: how the models differ; `labels` also compares them label by label."""

    title: str
    draw: Callable[[int, int], Models]
    labels: bool = False


CASES = (
    Case("equal models", lambda seed, n: two_models(seed, n, right=0.4, better=0.4), labels=True),
    Case("equal models, both good", lambda seed, n: two_models(seed, n, right=0.9, better=0.9)),
    Case("40% against 45%", lambda seed, n: two_models(seed, n, right=0.4, better=0.45)),
    Case("40% against 50%", lambda seed, n: two_models(seed, n, right=0.4, better=0.5)),
    Case("40% against 60%", lambda seed, n: two_models(seed, n, right=0.4, better=0.6)),
    Case("opposite errors, equal HMS", mirrored_models),
)


def alarms(case: Case, images: int, runs: int, resamples: int) -> list[str]:
    """Return the cells of a row: the share of runs with p <= 0.05 for each figure."""
    counts = dict.fromkeys((*FIGURES, "a label", "any label"), 0.0)
    for seed in range(runs):
        pair = case.draw(seed, images)
        found = differences(*pair, resamples=resamples, seed=seed)
        for name, figure in FIGURES.items():
            counts[name] += (found[figure].p or 0) <= ALPHA
        if case.labels:
            labels = label_differences(*pair, ACCURACY, resamples=resamples, seed=seed).values()
            known = [label for label in labels if label.p is not None]
            counts["a label"] += sum(label.p <= ALPHA for label in known if label.p) / len(known)
            counts["any label"] += any((label.p_corrected or 0) <= ALPHA for label in known)
    shares = {name: f"{100 * count / runs:.1f}%" for name, count in counts.items()}
    if not case.labels:
        shares |= {"a label": "", "any label": ""}
    return list(shares.values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--images", type=int, nargs="+", default=[27, 60, 200, 1000])
    args = parser.parse_args()
    print("| models | pictures | Privacy | ICS | HMS | a label | any label, corrected |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for case in CASES:
        for images in args.images:
            cells = alarms(case, images, args.runs, args.resamples)
            print(f"| {case.title} | {images:,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
