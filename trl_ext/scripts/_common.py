"""What the training scripts share: from parsed arguments to a saved model and its score."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from spy_plugin.benchmark.protocol import read_official_protocol
from spy_plugin.benchmark.spy_tune import Kind
from spy_plugin.benchmarks import open_named
from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.compat.wandb import import_wandb_early
from spy_plugin.errors import MissingDependencyError, SpyBenchError
from trl_ext.scripts._arguments import SpyTuneArguments, parse
from trl_ext.scripts._model_folder import check_model_folder
from trl_ext.scripts._output_folder import check_output, checkpoint_to_resume
from trl_ext.scripts._scoring import check_scoring, naming_option, score, score_command

if TYPE_CHECKING:
    from datasets import Dataset

    from spy_plugin.benchmark.samples import Benchmark

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """A training method, its classes named as ``"module:Class"`` so that naming one loads nothing.

    Attributes:
        name: Name of the method and of its settings file.
        config: Training arguments.
        trainer: The trainer that takes them.
        kind: Rows of SPY-Tune that it trains on.
    """

    name: str
    config: str
    trainer: str
    kind: Kind


def main(method: Method, argv: Sequence[str] | None = None) -> int:
    """Run `train` for a command line: an error is one line.

    Returns:
        0, or 1 after an error that its message explains.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        check_model_folder(sys.argv[1:] if argv is None else argv)
        train(method, argv)
    except SpyBenchError as error:
        logger.error("%s", error)
        return 1
    except ImportError as error:
        # An optional package, since ours are imported by now: it is installed but does not load.
        logger.debug("traceback", exc_info=True)
        logger.error(
            "a package that these options need does not load beside the others: %s. "
            "Change its version, or leave the option out that asks for it.",
            error,
        )
        return 1
    return 0


def train(method: Method, argv: Sequence[str] | None = None) -> Any:
    """Train a model with one method, save it, and say how to score it.

    Args:
        argv: Command line without the program's name; `sys.argv` by default.

    Returns:
        The trainer, after training.

    Raises:
        SpyBenchError: the settings or the data are wrong.
    """
    import_wandb_early()
    declare_missing_ops()
    config_class, trainer_class = _load(method.config), _prepared(_load(method.trainer))
    spy, training, model = parse(method.name, config_class, argv)
    from trl import get_peft_config  # type: ignore[attr-defined]

    from trl_ext.checkpoints import copy_through_pinned_memory, save_trained_model

    copy_through_pinned_memory()
    check_scoring(spy.evaluate_on, asked=spy.evaluate)
    with naming_option("--score_benchmark", spy.score_benchmark):
        watched = open_named(spy.score_benchmark) if spy.score_steps else None
    check_model(model.model_name_or_path, model.model_revision)
    checkpoint = checkpoint_to_resume(training.resume_from_checkpoint, Path(training.output_dir))
    used_again = bool(training.resume_from_checkpoint or spy.overwrite_output_dir)
    check_output(Path(training.output_dir), used_again=used_again)
    training.model_init_kwargs = _loading(training, model)
    trainer = trainer_class(
        model=model.model_name_or_path,
        args=training,
        train_dataset=_rows(spy, spy.data, method.kind, spy.data_split),
        eval_dataset=_evaluation_rows(spy, training, method.kind),
        processing_class=_processor(spy, training, model),
        peft_config=get_peft_config(model),
    )
    _keep_weight_names(trainer)
    if watched and spy.score_steps:
        _add_score_callback(trainer, spy, watched, spy.score_steps)
    trainer.train(resume_from_checkpoint=checkpoint)
    save_trained_model(trainer)
    if training.push_to_hub:
        trainer.push_to_hub(dataset_name="SPY-Tune")
    _finish(trainer, spy)
    return trainer


def check_model(name: str, revision: str | None) -> None:
    """Look up a model's configuration before its data are read.

    Raises:
        SpyBenchError: the model is neither a folder nor on the Hub.
    """
    from transformers.utils.hub import cached_file

    try:
        cached_file(str(Path(name).expanduser()), "config.json", revision=revision or "main")
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise SpyBenchError(
            f"the model {name} was not found, neither as a folder nor on the Hub ({reason}). "
            "Check --model_name_or_path, and the network if it is a name on the Hub."
        ) from error


def _rows(spy: SpyTuneArguments, path: str, kind: Kind, split: str | None) -> Dataset:
    from trl_ext.spy_tune import Split, as_prompt_completion, load_spy_tune

    rows = load_spy_tune(
        path,
        kind,
        distractors=spy.distractors,
        shuffle_seed=spy.shuffle_seed,
        max_rows=spy.max_rows,
        protocol=read_official_protocol(Path(spy.release)) if spy.release else None,
        label2text=spy.label2text,
        image_root=spy.image_root,
        split=cast("Split | None", split),
    )
    return as_prompt_completion(rows) if kind == "sft" else rows


def _evaluation_rows(spy: SpyTuneArguments, training: Any, kind: Kind) -> Dataset | None:
    if training.eval_strategy == "no":
        if spy.eval_data:
            logger.warning("--eval_data is not used: evaluation is off (--eval_strategy no)")
        return None
    if not spy.eval_data:
        raise SpyBenchError(
            "evaluation is asked for, but there is nothing to evaluate on. "
            "Give --eval_data, or --eval_strategy no."
        )
    return _rows(spy, spy.eval_data, kind, spy.eval_split)


def _loading(training: Any, model: Any) -> dict[str, Any]:
    """Return keyword arguments for `from_pretrained`."""
    from trl import get_quantization_config  # type: ignore[attr-defined]

    loading = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(training.model_init_kwargs or {}),
    }
    quantization = get_quantization_config(model)
    return loading | ({"quantization_config": quantization} if quantization else {})


def _processor(spy: SpyTuneArguments, training: Any, model: Any) -> Any:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(
        model.model_name_or_path,
        revision=model.model_revision,
        trust_remote_code=training.trust_remote_code,
    )
    pixels = {"shortest_edge": spy.min_pixels, "longest_edge": spy.max_pixels}
    pixels = {name: value for name, value in pixels.items() if value is not None}
    if not pixels:
        return processor
    images = processor.image_processor
    options = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    if "max_pixels" in options and set(pixels) <= set(dict(images.size)):
        images.size = type(images.size)(**{**dict(images.size), **pixels})
    else:
        logger.warning(
            "min_pixels and max_pixels do not apply: %s has its own picture sizes",
            type(images).__name__,
        )
    return processor


def _keep_weight_names(trainer: Any) -> None:
    """Save ZeRO-3 models under the names that they were loaded from.

    transformers (5.23) keeps a translation of names for them that adds a prefix which no file has;
    without that, it derives the right translation from the model's class when it saves.
    """
    plugin = trainer.args.deepspeed_plugin
    if plugin is not None and plugin.zero_stage == 3 and hasattr(trainer.model, "save_pretrained"):
        trainer.model._weight_conversions = None


def _add_score_callback(
    trainer: Any, spy: SpyTuneArguments, benchmark: Benchmark, steps: int
) -> None:
    from trl_ext.callbacks import ScoreCallback

    trainer.add_callback(
        ScoreCallback(
            trainer,
            benchmark,
            steps=steps,
            items=spy.score_items,
            distractors=spy.distractors,
            max_new_tokens=spy.score_max_new_tokens,
        )
    )


def _finish(trainer: Any, spy: SpyTuneArguments) -> None:
    """Close the trackers and the process group; say how to score the model, or score it."""
    output_dir = trainer.args.output_dir
    is_main = trainer.is_world_process_zero()
    trainer.accelerator.wait_for_everyone()
    if hasattr(trainer, "end"):
        trainer.end()
    else:  # transformers before 5.18
        trainer.accelerator.end_training()
    if not is_main:
        return
    command = score_command(output_dir, spy.evaluate_on)
    logger.info("the model is in %s. Score it with: %s", output_dir, shlex.join(command))
    if spy.evaluate:
        score(trainer, command)


def _prepared(trainer_class: type[Any]) -> type[Any]:
    """Return the trainer, reading its checkpoints whatever names their weights have, rounding
    bfloat16 weights stochastically where the optimizer does, and holding gradients once."""
    from trl_ext.checkpoints import WholeCheckpoints
    from trl_ext.replicas import SharedBuckets
    from trl_ext.rounding import StochasticRounding

    if issubclass(trainer_class, WholeCheckpoints):
        return trainer_class
    bases = (WholeCheckpoints, StochasticRounding, SharedBuckets, trainer_class)
    return type(trainer_class.__name__, bases, {})


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise MissingDependencyError((error.name or module).partition(".")[0], "train") from error
