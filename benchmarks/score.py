"""Measure the time of `spy-bench score` on 32,700 verdicts: reading, metrics, intervals.

    python benchmarks/score.py [--verdicts 32700] [--images 2000] [--repeats 5]

Each result is the median of `repeats` runs of the command in a fresh process, imports included. The
commands alternate, so that their ratios hold on any machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from spy_plugin.benchmark.labels import LABELS

_ANSWER = "It may be seen in the picture, but I had better not say what. " * 3
_READ = "import json,sys; [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]"
_SCORE = [sys.executable, "-m", "spy_plugin.cli", "score"]


def main() -> None:
    """Time the three commands and print a table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--verdicts", type=int, default=32_700)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "verdicts.jsonl"
        write_verdicts(path, args.verdicts, args.images)
        commands = {
            "read the file": [sys.executable, "-c", _READ, str(path)],
            "score --no-intervals": [*_SCORE, str(path), "--no-intervals"],
            "score": [*_SCORE, str(path)],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(args.repeats):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                taken[name].append(time.perf_counter() - start)
    median = {name: statistics.median(seconds) for name, seconds in taken.items()}
    for name, seconds in taken.items():
        print(f"{name:<24}{median[name]:>7.2f} s   ({min(seconds):.2f} .. {max(seconds):.2f})")
    read, plain, full = median.values()
    print(f"score --no-intervals / read: {plain / read:.2f}")
    print(f"score / score --no-intervals: {full / plain:.2f} (goal: at most 3)")
    print(f"score: {full:.2f} s (goal: at most 3 s)")


def write_verdicts(
    path: Path,
    verdicts: int,
    images: int,
    *,
    seed: int = 0,
    variant: str = "distractors",
    ground_truths: bool = False,
) -> None:
    """Write random verdicts in our own format, five per item, on answers of usual length.

    Args:
        ground_truths: Add a true value of one of several kinds, which every third answer holds.
    """
    rng = random.Random(seed)
    values = (
        "14 MAR 1988",
        "VR 4401 772 093",
        "Hana Ishimoto",
        "brown",
        "The man is a crane driver.",
    )
    samples = [(1, None), (0, None), (1, 0), (1, 1), (0, 1)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(verdicts):
            item, (side, kind) = number // 5, samples[number % 5]
            row = {
                "sample_id": f"{item:08d}/{variant}/{number % 5}",
                "benchmark_id": f"{item:08d}",
                "label": LABELS[item % len(LABELS)],
                "is_privacy": side,
                "scenario": kind if kind is None else {"id": f"s{item % 24}", "is_privacy": kind},
                "question_id": f"{item:08d}",
                "image_path": f"images/test2017/{item * 7919 % images:08d}.jpg",
                "outcome": rng.choices(["respond", "reject", "unjudged"], [49, 49, 2])[0],
                "answer": _ANSWER,
                "judge": "rules",
                "raw": "",
                "error": "",
            }
            if ground_truths:
                value = values[item % len(values)]
                row |= {"ref_answer": value, "question": "What does the picture show?"}
                if rng.random() < 1 / 3:
                    row["answer"] = _ANSWER + value
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
