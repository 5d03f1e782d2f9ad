"""Scores a trained model with SPY-Bench, and writes the scores into its model card.

The card holds them where the Hub looks for scores (`model-index`).
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from spy_plugin.errors import SpyBenchError
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


def score(trainer: Any, command: list[str]) -> None:
    """Score the saved model in a process of its own, and write its scores into its card.

    Raises:
        SpyBenchError: the scoring failed; says how to run it again.
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
    code = subprocess.run(words, env=environment, check=False).returncode
    if code:
        raise SpyBenchError(
            f"scoring ended with exit code {code}. Run it again with: {shlex.join(command)}"
        )
    card = add_scores(folder, folder / SCORES)
    logger.info("the scores are in the model's card, %s", folder / "README.md")
    if trainer.args.push_to_hub:
        card.push_to_hub(trainer.hub_model_id)


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
