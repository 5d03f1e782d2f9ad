"""Scores a trained model with SPY-Bench, and writes the scores into its model card.

The card holds them where the Hub looks for scores (`model-index`).
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.processes import end_family
from spy_plugin.hosts.vlmeval import names
from spy_plugin.report import build_report
from spy_plugin.sharing.hub_results import model_index_results, rows_to_share
from spy_plugin.sharing.model_folder import replace_scores

logger = logging.getLogger(__name__)

SCORES = "scores"
"""Folder in the output folder for the results of scoring the model."""


def score_command(output_dir: str, data: str) -> list[str]:
    """Return the command that scores a trained model with SPY-Bench in VLMEvalKit."""
    words = ["--data", data, "--model", f"hf:{output_dir}", "--work-dir", f"{output_dir}/{SCORES}"]
    return ["spy-bench", "run", "vlmeval", *words]


def check_scoring(data: str, *, asked: bool) -> None:
    """Refuse, before a model is trained, what could not be scored afterwards.

    Args:
        data: What to score on, as `score_command` takes it.
        asked: Score at the end; otherwise only the command is shown.

    Raises:
        SpyBenchError: no such data set; or, if asked, its data, its judge's key or the host is
            missing.
    """
    from spy_plugin.hosts.vlmeval.command_line import parse
    from spy_plugin.hosts.vlmeval.run import need_host, preflight

    with naming_option("--evaluate_on", data):
        names.note_own_folder([data])
        name = names.dataset(data)
        if name not in names.VARIANTS:
            known = [name for name in names.VARIANTS if name not in names.OWN_DATASETS.values()]
            raise SpyBenchError(
                f"SPY-Bench has no such data set. Use {', '.join(known)}, or spy:DIR for a "
                "benchmark of your own."
            )
        if asked:
            options, _ = parse(["--data", name])
            need_host(options.checkout)
            preflight(options)


@contextmanager
def naming_option(option: str, value: str) -> Iterator[None]:
    """Say which option an error comes from."""
    try:
        yield
    except SpyBenchError as error:
        raise SpyBenchError(f"{option} {value}: {error}") from error


def score(trainer: Any, command: list[str]) -> None:
    """Score the saved model in a process of its own, and write its scores into its card.

    Raises:
        SpyBenchError: the scoring failed; says how to run it again.
        KeyboardInterrupt: it was stopped; says the same.
    """
    import torch

    folder = Path(trainer.args.output_dir)
    if not (folder / "README.md").is_file():  # written with checkpoints only
        trainer.create_model_card(model_name=folder.name)
    trainer.accelerator.free_memory()
    trainer.model = trainer.model_wrapped = trainer.ref_model = None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # The scoring process is one of its own, not a rank of the training that has ended.
    launcher = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_", "MASTER_", "GROUP_", "ROLE_")
    ranks = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    work_folder = ("MMEVAL_ROOT",)  # the host would prefer it to --work-dir
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(launcher) and name not in (*ranks, *work_folder)
    }
    words = [sys.executable, "-m", "spy_plugin.cli", *command[1:]]
    # In a session of its own it does not see Ctrl-C, and says nothing beside what is said here.
    process = subprocess.Popen(words, env=environment, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        end_family(process)
        raise KeyboardInterrupt(how_to_score(command)) from None
    if code:
        raise SpyBenchError(f"scoring ended with exit code {code}. {how_to_score(command)}")
    card = add_scores(folder, folder / SCORES)
    logger.info("the scores are in the model's card, %s", folder / "README.md")
    if trainer.args.push_to_hub:
        card.push_to_hub(trainer.hub_model_id)


def how_to_score(command: list[str]) -> str:
    """Say what is kept of a training whose scoring has not ended, and how to score the model."""
    results = Path(command[-1])
    card = ["spy-bench", "export-results", str(results), str(results.parent)]
    return (
        f"The training has ended, and its model is in {results.parent}. To score it, run: "
        f"{shlex.join([*command, '--reuse'])} and then, for its card: {shlex.join(card)}"
    )


def scoring_of(launcher: subprocess.Popen[Any]) -> list[str] | None:
    """Return the command with which a launcher's processes score now; None if they train."""
    import psutil

    with suppress(psutil.Error):
        for process in psutil.Process(launcher.pid).children(recursive=True):
            words = process.cmdline()
            if words[1:5] == ["-m", "spy_plugin.cli", "run", "vlmeval"]:
                return ["spy-bench", *words[3:]]
    return None


def add_scores(folder: Path, results: Path) -> Any:
    """Write a model's scores into the `README.md` of its folder; earlier ones are replaced.

    Args:
        folder: The model, with its card.
        results: The work folder of the run that scored it.

    Returns:
        The card, a `huggingface_hub.ModelCard`.

    Raises:
        SpyBenchError: the run left no results.
    """
    from huggingface_hub import ModelCard

    rows = rows_to_share(build_report([results]))
    replace_scores(folder, model_index_results(rows))
    return ModelCard.load(folder / "README.md")
