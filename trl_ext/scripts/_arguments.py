"""The command line of the training scripts: TRL's own options, ours, and layered YAML files."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml

from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.models.packaged import PACKAGED, checkpoint_folder
from trl_ext import configs
from trl_ext.scripts import _device
from trl_ext.scripts._official import translated
from trl_ext.scripts._packages import check_packages

logger = logging.getLogger(__name__)


_AT_LEAST_ONE = (
    "max_rows",
    "min_pixels",
    "max_pixels",
    "global_batch_size",
    "score_steps",
    "score_items",
    "score_max_new_tokens",
)


@dataclass
class SpyTuneArguments:
    r"""
    Data to train on, and how to score the model while training and afterwards.

    Parameters:
        data (`str`, *optional*, defaults to `"mini"`):
            SPY-Tune file, a folder that holds it, the folder of one's own benchmark, or `"mini"`
            for the embedded one.
        eval_data (`str`, *optional*):
            Data for the loss on held-out rows, which `--eval_strategy` turns on.
        data_split (`str`, *optional*):
            `"train"` or `"validation"`: only the rows of that part of the pictures, 80% and 20%.
        eval_split (`str`, *optional*):
            The same for `eval_data`, which may then be the same data.
        distractors (`bool`, *optional*, defaults to `True`):
            Whether prompts also have instructions about the item's other labels.
        shuffle_seed (`int`, *optional*):
            Shuffle the rows before `max_rows` is applied. Epochs are shuffled by `--seed` anyway.
        max_rows (`int`, *optional*):
            Most rows to train on.
        label2text (`str`, *optional*):
            The release's `label2text.json`, if it is not found beside the data.
        image_root (`str`, *optional*):
            Folder that the image paths are relative to, if it is not found from the data.
        release (`str`, *optional*):
            Official release whose instruction words are used, if the data are not in one.
        min_pixels (`int`, *optional*):
            Fewest pixels that a picture is resized to, for models that keep its proportions.
        max_pixels (`int`, *optional*):
            Most pixels.
        global_batch_size (`int`, *optional*):
            Rows per optimizer step over all processes; sets `gradient_accumulation_steps`.
        score_steps (`int`, *optional*):
            Number of steps after which held-out samples are answered again, and ICS, HMS and
            example texts logged.
        score_benchmark (`str`, *optional*, defaults to `"mini"`):
            The held-out samples: `"mini"`, `"official"` or another benchmark, by name or folder.
        score_items (`int`, *optional*, defaults to `8`):
            Number of its items that are asked, each in all its samples.
        score_max_new_tokens (`int`, *optional*, defaults to `512`):
            Most tokens of an answer to a held-out sample.
        evaluate (`bool`, *optional*, defaults to `False`):
            Score the trained model with SPY-Bench at the end.
        evaluate_on (`str`, *optional*, defaults to `"SPYBench_MINI"`):
            What to score it on: a data set of SPY-Bench, as VLMEvalKit's `--data` names it.
        overwrite_output_dir (`bool`, *optional*, defaults to `False`):
            Whether `output_dir` may hold another run, whose model is replaced.
    """

    data: str = field(
        default="mini",
        metadata={"help": "SPY-Tune file, a folder that holds it, or 'mini'."},
    )
    eval_data: str | None = field(
        default=None, metadata={"help": "The same for evaluation during training."}
    )
    data_split: str | None = field(
        default=None,
        metadata={"help": "'train' or 'validation': only the rows of that part of the pictures."},
    )
    eval_split: str | None = field(
        default=None, metadata={"help": "The same for eval_data, which may be the same data."}
    )
    distractors: bool = field(
        default=True,
        metadata={"help": "Prompts have instructions about other labels, too."},
    )
    shuffle_seed: int | None = field(
        default=None, metadata={"help": "Shuffle the rows before max_rows is applied."}
    )
    max_rows: int | None = field(default=None, metadata={"help": "Most rows to train on."})
    label2text: str | None = field(
        default=None, metadata={"help": "label2text.json, if it is not found beside the data."}
    )
    image_root: str | None = field(
        default=None, metadata={"help": "Folder that the image paths are relative to."}
    )
    release: str | None = field(
        default=None,
        metadata={"help": "Official release whose words are used, if the data are not in one."},
    )
    min_pixels: int | None = field(
        default=None, metadata={"help": "Fewest pixels that a picture is resized to."}
    )
    max_pixels: int | None = field(
        default=None, metadata={"help": "Most pixels that a picture is resized to."}
    )
    global_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Rows per optimizer step over all processes; sets gradient_accumulation_steps."
        },
    )
    score_steps: int | None = field(
        default=None,
        metadata={"help": "Steps after which held-out samples are answered and scored."},
    )
    score_benchmark: str = field(
        default="mini",
        metadata={"help": "The held-out samples: 'mini', 'official', ..., or a folder."},
    )
    score_items: int = field(default=8, metadata={"help": "Items of it that are asked."})
    score_max_new_tokens: int = field(
        default=512, metadata={"help": "Most tokens of an answer to a held-out sample."}
    )
    evaluate: bool = field(
        default=False, metadata={"help": "Score the trained model with SPY-Bench at the end."}
    )
    evaluate_on: str = field(
        default="SPYBench_MINI",
        metadata={"help": "SPY-Bench data set to score it on (VLMEvalKit's --data)."},
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Replace the model of another run in output_dir."}
    )

    def check(self) -> None:
        """Refuse numbers that cannot be used.

        Raises:
            SpyBenchError: names the option.
        """
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SpyBenchError(f"--{name} is {value}. Give a number of at least 1.")
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise SpyBenchError(
                f"--min_pixels {self.min_pixels} is above --max_pixels {self.max_pixels}. "
                "Change one of them."
            )


def parse(method: str, config_class: type[Any], argv: Sequence[str] | None) -> tuple[Any, Any, Any]:
    """Parse the settings of a method: its YAML file, each `--config`, then the command line.

    Returns:
        Our arguments, TRL's training arguments and TRL's model arguments.

    Raises:
        SpyBenchError: a settings file is missing, an option is unknown, or a value cannot be used.
    """
    import sys

    from trl import ModelConfig, TrlParser  # type: ignore[attr-defined]

    classes: Any = (SpyTuneArguments, config_class, ModelConfig)
    parser: Any = TrlParser(classes, prog=f"spy-bench train {method}")
    parser.error = _refuse  # instead of some hundred lines of usage
    # Cutting sequences cuts pictures; what depends on the machine is chosen where nobody sets it.
    parser.set_defaults_with_config(max_length=None, **dict.fromkeys(_device.CHOSEN))
    files, words = _take_configs(translated(sys.argv[1:] if argv is None else argv))
    files = [configs.find(method), *files]
    for file in files:
        _apply(parser, file)
    asked, unknown = parser.parse_known_args(words)  # ends here for --help
    for file in files:
        logger.info("settings from %s", file)
    _refuse_unknown(unknown, parser)
    if not asked.model_name_or_path:
        raise SpyBenchError("no model is named. Give one with --model_name_or_path.")
    asked.model_name_or_path = _model_path(asked.model_name_or_path)
    machine = _device.this_machine(asked)
    if machine.kind == "cpu" and not asked.use_cpu:
        # transformers takes several processes without GPUs for one run only where it is told.
        words = [*words, "--use_cpu=true"]
        words = [*words, *(f"--{name}=false" for name in ("bf16", "fp16") if getattr(asked, name))]
    parser.set_defaults_with_config(**_device.choose(asked, machine))
    if os.environ.get("ACCELERATE_MIXED_PRECISION") == "bf16":
        # A launcher's file (each of ours says bf16) does not decide: --bf16 and --fp16 do.
        os.environ["ACCELERATE_MIXED_PRECISION"] = "no"
    try:
        spy, training, model = parser.parse_args_and_config(words)
    except (TypeError, ValueError) as error:  # from the options of TRL and transformers
        raise SpyBenchError(
            f"the settings cannot be used ({error}). Change them in the command or its --config."
        ) from error
    spy.check()
    model.model_name_or_path = _model_path(model.model_name_or_path)
    check_packages(training, model)
    parts = os.environ.get("FSDP_STATE_DICT_TYPE") == "SHARDED_STATE_DICT"
    if machine.sharding == "fsdp" and parts and training.save_only_model:
        raise SpyBenchError(
            "--save_only_model does not work with this FSDP file, whose checkpoints are in parts. "
            "Use --save_strategy no: the trained model is saved at the end."
        )
    if getattr(training, "prefix_sharing", None) == "image":
        training.rows_per_step = training.rows_per_step or spy.global_batch_size
    elif spy.global_batch_size is not None:
        training.gradient_accumulation_steps = accumulation(
            spy.global_batch_size, training.per_device_train_batch_size, training.world_size
        )
    return spy, training, model


def _model_path(name: str) -> str:
    """Return the folder of a model that comes with the package, any other name as it is."""
    return str(checkpoint_folder(name)) if name in PACKAGED else name


def _refuse(problem: str) -> NoReturn:
    raise SpyBenchError(f"{problem}. See --help for the options of this method.")


def _refuse_unknown(words: Sequence[str], parser: Any) -> None:
    if not words:
        return
    unknown = [word.partition("=")[0] for word in words if word.startswith("--")]
    if not unknown:
        _refuse(f"{words[0]!r} belongs to no option")
    known = [option for action in parser._actions for option in action.option_strings]
    close = get_close_matches(unknown[0], known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    _refuse(f"the option {unknown[0]} is unknown{meant}")


def accumulation(rows: int, per_device: int, processes: int) -> int:
    """Return the gradient accumulation steps with which an optimizer step has `rows` rows.

    Raises:
        SpyBenchError: the numbers do not divide.
    """
    at_once = per_device * processes
    if rows < 1 or rows % at_once:
        raise SpyBenchError(
            f"global_batch_size {rows} is not a multiple of {per_device} rows on each of "
            f"{processes} processes. Change --per_device_train_batch_size or --global_batch_size."
        )
    return rows // at_once


def _take_configs(words: list[str]) -> tuple[list[Path], list[str]]:
    """Split the `--config` files from the other words of a command line."""
    files, rest = [], []
    remaining = iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        if option != "--config":
            rest.append(word)
            continue
        name = value if equals else next(remaining, "")
        if not name:
            raise SpyBenchError("--config names no file. Give one after it.")
        files.append(configs.find(name))
    return files, rest


def _apply(parser: Any, file: Path) -> None:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(
            f"cannot be read ({error})", "Give a YAML file of settings.", path=file
        ) from error
    if not _is_mapping(settings):
        raise DataError("is not a YAML mapping", "Write it as `option: value`.", path=file)
    variables = settings.pop("env", None) or {}
    if not _is_mapping(variables):
        raise DataError("env is not a mapping", "Write it as `VARIABLE: value`.", path=file)
    for name, value in variables.items():
        try:
            os.environ[name] = str(value)
        except (OSError, ValueError) as error:
            raise DataError(
                f"env has {name!r}, which cannot be a variable ({error})", "Fix it.", path=file
            ) from error
    unknown = parser.set_defaults_with_config(**settings)
    if unknown:
        raise DataError(
            f"unknown options {' '.join(unknown[::2])}",
            "See --help for the options of this method.",
            path=file,
        )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(name, str) for name in value)
