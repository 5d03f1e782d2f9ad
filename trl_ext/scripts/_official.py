"""The options of the official release's training scripts, as they are called here."""

from __future__ import annotations

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)

NAMES = {
    "train_data_path": "data",
    "eval_data_path": "eval_data",
    "label_path": "label2text",
    "image_folder": "image_root",
    "add_distractors": "distractors",
    "warmup_ratio": "warmup_steps",
    "torch_dtype": "dtype",
    "use_liger": "use_liger_kernel",
    "num_train_samples": "max_rows",
}
"""Official option -> ours, which takes the same values."""

SHUFFLE_SEED = "42"
"""The official scripts' `--shuffle True` shuffles by their default seed, and by none in NCA-P."""

FLAGS = ("bf16", "fp16", "tf32")
"""Options that the official scripts write without a value."""

_TRUE = ("true", "1", "yes", "y", "t")


def translated(words: Sequence[str]) -> list[str]:
    """A command line with the official options under our names; the log says which."""
    found: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        option, equals, value = word.partition("=")
        name = option.removeprefix("--")
        if not option.startswith("--"):
            found.append(word)
        elif name in NAMES:
            logger.info("%s of the official scripts is %s here", option, f"--{NAMES[name]}")
            found.append(f"--{NAMES[name]}{equals}{value}")
        elif name == "shuffle":
            if not equals and remaining and not remaining[0].startswith("--"):
                value = remaining.pop(0)
            if value.lower() in ("", *_TRUE):
                logger.info("--shuffle True of the official scripts is --shuffle_seed here")
                found += ["--shuffle_seed", SHUFFLE_SEED]
        else:
            found.append(word)
            if name in FLAGS and not equals and (not remaining or remaining[0].startswith("--")):
                found.append("true")
    return found
