"""`spy-bench score`: a verdict file -> the paper's figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from spy_plugin.metrics import HMS, ICS, METRICS, Score, compute, privacy_score
from spy_plugin.verdicts import read_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("file", type=Path, help="verdicts: ours or the official eval/*.jsonl[.gz]")
    parser.add_argument(
        "--verdict-key", metavar="KEY", help="field of the verdict (default: found by itself)"
    )
    parser.add_argument(
        "--release", type=Path, metavar="DIR", help="take labels and absolute labels from here"
    )
    parser.add_argument("--json", action="store_true", help="print metrics and by_label as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the figures."""
    table = read_table(args.file, key=args.verdict_key, **_labels(args.release))
    figures = compute(table)
    if args.json:
        print(json.dumps({name: figures[name] for name in ("metrics", "by_label")}))
    else:
        print(render(figures))
    return 0


def _labels(release: Path | None) -> dict[str, Any]:
    if release is None:
        return {}
    from spy_plugin.samples import load_release

    benchmark = load_release(release)
    return {
        "absolute_labels": benchmark.protocol.absolute_labels,
        "known_labels": tuple(benchmark.label_words),
    }


def render(figures: dict[str, Any]) -> str:
    """The overall figures as a text table."""
    block = figures["metrics"]
    lines = [f"{'metric':<36}{'score':>8}{'hits':>9}{'n':>9}"]
    for name in METRICS:
        counts = block[name]
        score, hits, n = _cell(counts["score"]), counts["expected"], counts["all"]
        lines.append(f"{name:<36}{score:>8}{hits:>9}{n:>9}")
    privacy = privacy_score(block[ICS]["score"], block[HMS])
    lines += [
        f"{HMS:<36}{_cell(block[HMS]):>8}",
        f"{'privacy score':<36}{_cell(privacy):>8}",
        "",
        ", ".join(f"{name} {count}" for name, count in figures["outcomes"].items())
        + f" of {block['total']} verdicts",
    ]
    return "\n".join(lines)


def _cell(score: Score) -> str:
    return score if isinstance(score, str) else f"{score:.2f}"
