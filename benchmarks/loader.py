"""Time the loader on one core: what a batch of 8 rows of one picture costs.

    OMP_NUM_THREADS=1 python benchmarks/loader.py

The measure is the cost of decoding and processing each picture once, which no loader can avoid.
Processor seconds of this process, so that other work on the machine does not count.
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
    parser.add_argument("--pillow", action="store_true", help="the image processor on Pillow")
    options = parser.parse_args()
    declare_missing_ops()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.pictures, options.rows, options.pillow)
    print(json.dumps(result, indent=1))


def measure(folder: Path, pictures: int, rows: int, pillow: bool = False) -> dict[str, Any]:
    """Milliseconds of a batch and of its parts, medians over the pictures, and their ratio."""
    from transformers import AutoProcessor

    from trl_ext import load_spy_tune
    from trl_ext.prefix_sharing.collator import PreferenceCollator
    from trl_ext.prefix_sharing.encoding import SequenceEncoder
    from trl_ext.prefix_sharing.pictures import open_picture, undecoded

    write_data(folder, pictures, rows)
    write_processor(folder / "model", VOCABULARY)
    options = {"backend": "pil"} if pillow else {}
    processor = AutoProcessor.from_pretrained(folder / "model", **options)
    dataset = undecoded(load_spy_tune(folder))
    collate = PreferenceCollator(SequenceEncoder(processor), ("_0", "_1"))
    batches = [range(start, start + rows) for start in range(0, len(dataset), rows)]
    files = [dataset[batch[0]]["images"][0] for batch in batches]
    opened = [open_picture(file) for file in files]
    process = processor.image_processor
    collate([dataset[row] for row in batches[0]])  # warm up
    parts = {
        "decode": _median([lambda file=file: open_picture(file) for file in files]),
        "process": _median(
            [lambda picture=picture: process(picture, return_tensors="pt") for picture in opened]
        ),
        "batch": _median(
            [lambda batch=batch: collate([dataset[row] for row in batch]) for batch in batches]
        ),
    }
    return {
        "image_processor": type(process).__name__,
        "rows": rows,
        **{f"{name}_ms": 1000 * seconds for name, seconds in parts.items()},
        "ratio": parts["batch"] / (parts["decode"] + parts["process"]),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
    }


def _median(calls: list[Callable[[], Any]]) -> float:
    seconds = []
    for call in calls:
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
