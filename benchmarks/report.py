"""Write the results of `train_step.py` as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any


def report(results: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """Render the table in Markdown."""
    base = next((r["rows_per_second"] for r in results if r["layout"] == "official"), None)
    lines = [
        f"{machine['size']}, {machine['device']}, torch {machine['torch']}, transformers "
        f"{machine['transformers']}, {machine['date']}; matrix peak "
        f"{machine['matrix_peak'] / 1e12:.3g} TFLOP/s; case {machine['case']}",
        "",
        "| mode | rows/s | against official | peak GiB | columns | pictures | TFLOP | share of "
        "peak | times the floor | largest difference |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        if "error" in r:
            lines.append(f"| {r['name']} | {r['error']} |" + " |" * 8)
            continue
        seconds = statistics.median(r["seconds"])
        floor = r["floor_flops"] / machine["matrix_peak"]
        gib = "" if r["peak_gib"] is None else f"{r['peak_gib']:.1f}"
        against = "" if base is None else f"{r['rows_per_second'] / base:.2f}"
        lines.append(
            f"| {r['name']} | {r['rows_per_second']:.2f} | {against} | {gib} | {r['columns']} | "
            f"{r['pictures']} | {r['flops'] / 1e12:.3g} | "
            f"{r['flops_per_second'] / machine['matrix_peak']:.0%} | {seconds / floor:.2f} | "
            f"{r['largest_difference']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def save(folder: Path, results: list[dict[str, Any]], machine: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{machine['size']}-{machine['device'].replace(' ', '-')}-{machine['date']}"
    (folder / f"{name}.json").write_text(json.dumps({**machine, "results": results}, indent=1))
    (folder / f"{name}.md").write_text(report(results, machine))
