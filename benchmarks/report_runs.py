"""Measure `spy-bench report` on many runs against `spy-bench score` on one after another.

    python -m benchmarks.report_runs [--models 21] [--verdicts 32700] [--images 2000] [--scored 42]
        [--ground-truths]

Each model has a run with distractors and one without. Both commands run in fresh processes; with
`--scored` below the number of runs, the time of the others is that of the measured ones on average.
Memory is the largest of any process.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.score import write_verdicts
from spy_plugin.runs.metadata import JudgeInfo, ProtocolInfo, RunMetadata, run_files

CLI = [sys.executable, "-m", "spy_plugin.cli"]
GOAL, MEMORY = 0.5, 500


def main() -> None:
    """Write the runs, time both ways and print the ratio and the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", type=int, default=21)
    parser.add_argument("--verdicts", type=int, default=32_700)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--scored", type=int, default=42)
    parser.add_argument(
        "--ground-truths", action="store_true", help="true values to compare each answer with"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_runs(
            folder / "runs", args.models, args.verdicts, args.images, args.ground_truths
        )
        scored = random.Random(0).sample(files, min(args.scored, len(files)))
        measured = [measure([*CLI, "score", str(path)]) for path in scored]
        one_by_one, busy = (
            sum(each[i] for each in measured) / len(measured) * len(files) for i in (0, 1)
        )
        out = ["--out", str(folder / "report"), "--no-samples"]  # see `report_samples.py`
        report = [*CLI, "report", str(folder / "runs"), *out]
        together, processor, memory = measure(report)
    print(f"{len(files)} runs of {args.verdicts:,} verdicts, {os.cpu_count()} processors")
    print(
        f"score, one after another: {one_by_one:.1f} s, {busy:.1f} s of processor time "
        f"({len(scored)} measured)"
    )
    print(f"report: {together:.1f} s, {processor:.1f} s of processor time")
    print(f"report / score: {together / one_by_one:.2f} (goal: at most {GOAL})")
    print(f"memory: {memory:.0f} MiB (goal: at most {MEMORY} MiB)")


def write_runs(
    folder: Path, models: int, verdicts: int, images: int, ground_truths: bool
) -> list[Path]:
    """Write the verdicts and the metadata of every model in both conditions."""
    folder.mkdir()
    files = []
    for model, variant in itertools.product(range(models), ("distractors", "no_distractors")):
        name = f"model-{model:02}"
        path, about = run_files(folder, name, f"SPYBench-{variant}")
        write_verdicts(
            path,
            verdicts,
            images,
            seed=len(files),
            variant=variant,
            ground_truths=ground_truths,
        )
        RunMetadata(
            host="spy-bench",
            dataset=f"SPYBench-{variant}",
            model=name,
            variant=variant,
            benchmark="official",
            data_fingerprint=f"{variant:.12}",
            samples=verdicts,
            protocol=ProtocolInfo(name="official", fingerprint="0" * 12),
            judge=JudgeInfo(name="rules", fingerprint="1" * 12),
            verdicts=path.name,
        ).write(about)
        files.append(path)
    return files


def measure(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, its processor seconds and its memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {status}")
    used = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - start, used, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
