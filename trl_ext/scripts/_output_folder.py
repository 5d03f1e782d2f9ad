"""What an output folder already holds: checkpoints to resume from, or a run that must be kept."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import file_in_the_way

logger = logging.getLogger(__name__)

LAST = "last"
"""Value of `--resume_from_checkpoint` for the last complete checkpoint in the output folder."""


def checkpoint_to_resume(wanted: str | None, output_dir: Path) -> str | None:
    """Return the checkpoint folder to resume from.

    Args:
        wanted: A folder, or `LAST` for the newest complete checkpoint in `output_dir` (a run may be
            killed while it writes one). Without any, training starts from the beginning.

    Raises:
        SpyBenchError: the folder holds no complete checkpoint.
    """
    if wanted is None:
        return None
    if wanted != LAST:
        if not _is_whole(Path(wanted)):
            raise SpyBenchError(
                f"{wanted} holds no complete checkpoint (trainer_state.json is written last). "
                f"Give a folder checkpoint-N of a run, or {LAST!r} for the newest in --output_dir, "
                "as --resume_from_checkpoint."
            )
        return wanted
    found = {
        int(path.name.rpartition("-")[2]): path
        for path in output_dir.glob("checkpoint-*")
        if path.name.rpartition("-")[2].isdecimal() and _is_whole(path)
    }
    if not found:
        logger.info("no complete checkpoint in %s: starting from the beginning", output_dir)
        return None
    newest = found[max(found)]
    logger.info("resuming from %s", newest)
    return str(newest)


def check_output(folder: Path, *, used_again: bool = False) -> None:
    """Refuse an output folder that holds the model or the checkpoints of another run.

    Args:
        used_again: That run is to be resumed or replaced.

    Raises:
        SpyBenchError: says what is there and which options decide.
    """
    file = file_in_the_way(folder)
    if file is not None:
        raise SpyBenchError(f"--output_dir {folder}: {file} is a file. Give a folder.")
    if used_again:
        return
    kept = [folder / name for name in ("config.json", "adapter_config.json")]
    found = [path for path in (*kept, *sorted(folder.glob("checkpoint-*"))) if path.exists()]
    if found:
        raise SpyBenchError(
            f"--output_dir {folder} holds an earlier run ({found[0].name}). Resume it with "
            f"--resume_from_checkpoint {LAST}, give another --output_dir, or replace it with "
            "--overwrite_output_dir true."
        )


def _is_whole(checkpoint: Path) -> bool:
    """Return whether `trainer_state.json`, which is written last, is complete."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return True
