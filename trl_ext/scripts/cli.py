"""`spy-bench train METHOD`: the training scripts without their module names.

Its own options choose the launcher; everything else goes to the script as it is.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module

from spy_plugin.errors import MissingDependencyError
from spy_plugin.files.processes import end_family
from spy_plugin.models.watchdog import Watch
from trl_ext import configs
from trl_ext.scripts._model_folder import check_model_folder

logger = logging.getLogger(__name__)

METHODS = {
    "sft": "right answers, by TRL's SFTTrainer",
    "dpo": "preference rows, by TRL's DPOTrainer with shared prefixes",
    "nca": "preference rows, by the same with TRL's nca_pair loss",
    "nca_priv": "both sides of the instruction, by NCAPrivTrainer",
}
"""Method -> what it trains on, and with what."""

_RESUME = (
    "To resume from the last checkpoint, if one was saved, run the same command with "
    "--resume_from_checkpoint last."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``spy-bench train``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Train a vision-language model on SPY-Tune. Start from the paper's settings of METHOD.\n\n"
        + "\n".join(f"  {name:<9} {text}" for name, text in METHODS.items())
        + "\n\noptions (before or after METHOD):\n"
        "  --accelerate NAME      launch with accelerate: a file, or one of "
        + ", ".join(configs.names("accelerate"))
        + "\n  --num-processes N      processes to launch (needs --accelerate)\n"
        "  --config NAME          settings, may be repeated: a file, or one of "
        + ", ".join(name for name in configs.names() if name not in METHODS)
        + "\n  anything else          an option of the method: spy-bench train METHOD --help"
    )
    parser.add_argument("method", metavar="METHOD", choices=sorted(METHODS))
    rest = parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # else a missing METHOD is reported as two missing arguments
    _add_launch_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the script of the method; returns its exit code.

    Raises:
        KeyboardInterrupt: it was stopped, after saying how to resume, or to score what is trained.
    """
    try:
        return _run(args)
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"\n{stop if stop.args else _RESUME}\n")  # below a progress bar
        raise


def _run(args: argparse.Namespace) -> int:
    launch = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    _add_launch_options(launch)
    after, options = launch.parse_known_args(args.options)
    accelerate = after.accelerate or args.accelerate
    processes = after.num_processes or args.num_processes
    module = f"trl_ext.scripts.{args.method}"
    if (accelerate is None and processes is None) or {"-h", "--help"} & set(options):
        return _script(module, options)
    check_model_folder(options)
    command = launch_command(module, options, accelerate or "ddp", processes)
    logger.info("%s", shlex.join(command))
    return _launch(command)


def _launch(command: Sequence[str]) -> int:
    """Run a launcher; returns its exit code. Its processes end when this one is stopped.

    They are killed at once, since none of them would save anything.
    """
    from trl_ext.scripts._scoring import how_to_score, scoring_of

    watch = Watch()  # also if it is killed, or interrupted before it knows what it has started
    launcher = subprocess.Popen(command, start_new_session=True)
    watch.settle()
    try:
        return launcher.wait()
    except KeyboardInterrupt:
        scoring = scoring_of(launcher)
        end_family(launcher)
        if scoring:
            raise KeyboardInterrupt(how_to_score(scoring)) from None
        raise
    finally:
        watch.close()


def launch_command(
    module: str, options: Sequence[str], accelerate: str, processes: int | None
) -> list[str]:
    """Return the `accelerate launch` command of a script.

    Raises:
        SpyBenchError: there is no such accelerate file.
    """
    file = configs.find(accelerate, "accelerate")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    if processes is not None:
        command += ["--num_processes", str(processes)]
    return [*command, "-m", module, *options]


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accelerate", metavar="NAME", default=None, help=argparse.SUPPRESS)
    parser.add_argument(
        "--num-processes", metavar="N", type=int, default=None, help=argparse.SUPPRESS
    )


def _script(module: str, options: Sequence[str]) -> int:
    try:
        code: int = import_module(module).main(options)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("accelerate", "datasets", "peft", "torch", "transformers", "trl"):
            raise MissingDependencyError(missing, "train") from error
        raise
    return code
