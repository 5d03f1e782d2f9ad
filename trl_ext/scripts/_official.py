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
    "num_train_samples": "max_rows",
    "eval_max_new_tokens": "score_max_new_tokens",
    "train_name": "run_name",
    "warmup_ratio": "warmup_steps",
    "torch_dtype": "dtype",
    "use_liger": "use_liger_kernel",
}
"""Official option -> ours, which takes the same values."""

DROPPED = {
    "eval_temperature": "answers during training are always greedy",
    "num_eval_samples": "--score_steps and --score_items choose what is asked during training",
    "max_prompt_length": "it had no effect there; --max_length limits whole sequences",
    "max_completion_length": "it had no effect there; --max_length limits whole sequences",
    "ignore_bias_buffers": "there is nothing to work around any more",
    "wandb_mode": "set the variable WANDB_MODE, and WANDB_PROJECT for the project",
}
"""Official option without a counterpart -> why it is left out, or what to use."""

SHUFFLE_SEED = "42"
"""Default seed of the official scripts; their `--shuffle True` shuffles by it (in NCA-P, not)."""

FLAGS = ("bf16", "fp16", "tf32")
"""Options that the official scripts write without a value."""

_TRUE = ("true", "1", "yes", "y", "t")


def translated(words: Sequence[str]) -> list[str]:
    """Rename the official options of a command line to ours; the log says which.

    Args:
        words: The command line, without the program's name.
    """
    found: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        option, equals, value = word.partition("=")
        name = option.removeprefix("--")
        has_value = bool(remaining) and not equals and not remaining[0].startswith("--")
        if not option.startswith("--"):
            found.append(word)
        elif name in NAMES:
            logger.info("%s of the official scripts is --%s here", option, NAMES[name])
            found.append(f"--{NAMES[name]}{equals}{value}")
        elif name in DROPPED:
            if has_value:
                remaining.pop(0)
            logger.warning("%s of the official scripts is left out: %s", option, DROPPED[name])
        elif name == "shuffle":
            value = remaining.pop(0) if has_value else value
            if value.lower() in ("", *_TRUE):
                logger.info("--shuffle True of the official scripts is --shuffle_seed here")
                found += ["--shuffle_seed", _seed(words)]
        else:
            found.append(word)
            if name in FLAGS and not equals and not has_value:
                found.append("true")
    return found


def _seed(words: Sequence[str]) -> str:
    """Return the value of `--seed`, by which the official scripts shuffle."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        if option == "--seed":
            return value if equals else following
    return SHUFFLE_SEED
