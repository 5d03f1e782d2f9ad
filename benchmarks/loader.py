"""Time the loader on one core: what a batch of 8 rows of one picture costs.

    OMP_NUM_THREADS=1 python benchmarks/loader.py

It is compared with decoding and processing each picture once, which no loader can avoid. Times are
processor seconds of this process. The three are measured in turn, picture by picture, so that other
work on the machine slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.train_case import write_data, write_processor
from spy_plugin.compat.torchvision import declare_missing_ops

VOCABULARY = 152_064


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--rows", type=int, default=8, help="rows of a picture and of a batch")
    parser.add_argument("--rounds", type=int, default=5, help="times that each is measured")
    parser.add_argument("--pillow", action="store_true", help="the image processor on Pillow")
    options = parser.parse_args()
    declare_missing_ops()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(
            Path(folder), options.pictures, options.rows, options.rounds, options.pillow
        )
    print(json.dumps(result, indent=1))


def measure(
    folder: Path, pictures: int, rows: int, rounds: int = 5, pillow: bool = False
) -> dict[str, Any]:
    """Milliseconds of a batch and of its parts, medians over pictures and rounds, and their ratio.

    Args:
        folder: An empty folder for the pictures and the processor.
        pictures: Pictures to measure.
        rows: Rows per picture, which make one batch.
        rounds: Times that each picture is measured.
        pillow: Process pictures by Pillow rather than by torchvision.
    """
    from transformers import AutoProcessor, Qwen2VLImageProcessorPil

    from trl_ext import load_spy_tune
    from trl_ext.prefix_sharing.collator import PreferenceCollator
    from trl_ext.prefix_sharing.encoding import SequenceEncoder
    from trl_ext.prefix_sharing.pictures import open_picture, undecoded

    write_data(folder, pictures, rows)
    write_processor(folder / "model", VOCABULARY)
    processor = AutoProcessor.from_pretrained(folder / "model")
    if pillow:
        processor.image_processor = Qwen2VLImageProcessorPil.from_pretrained(folder / "model")
    process = processor.image_processor
    dataset = undecoded(load_spy_tune(folder))
    collate = PreferenceCollator(SequenceEncoder(processor), ("_0", "_1"))
    seconds: dict[str, list[float]] = {"decode": [], "process": [], "batch": []}
    for _ in range(rounds):
        for start in range(0, len(dataset), rows):
            file = dataset[start]["images"][0]
            picture, taken = _timed(lambda file=file: open_picture(file))
            seconds["decode"].append(taken)
            _, taken = _timed(lambda picture=picture: process(picture, return_tensors="pt"))
            seconds["process"].append(taken)
            batch = range(start, start + rows)
            _, taken = _timed(lambda batch=batch: collate([dataset[row] for row in batch]))
            seconds["batch"].append(taken)
    parts = {name: statistics.median(each) for name, each in seconds.items()}
    return {
        "image_processor": type(process).__name__,
        "rows": rows,
        **{f"{name}_ms": round(1000 * each, 2) for name, each in parts.items()},
        "ratio": round(parts["batch"] / (parts["decode"] + parts["process"]), 2),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its processor seconds."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


if __name__ == "__main__":
    main()
