"""The resumable state of a base training, so that an interrupted one need not start again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import replacing

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

History = list[dict[str, float]]
SAVE_EVERY = 100
"""Steps between two saves: one to two minutes of the tiny size on two CPU cores."""
_UNREADABLE = (OSError, RuntimeError, EOFError, KeyError, TypeError, UnpicklingError)


class BaseCheckpoint:
    """One file with the weights, the optimizer states and the history after some step.

    The lessons of a step depend only on the seed and the step, and training draws no other random
    numbers. A resumed training therefore equals an uninterrupted one, bit for bit on one thread.

    Args:
        path: The file; it need not exist.
        settings: What the training was started with. A file with other settings is refused.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings

    def restore(
        self, model: Any, optimizers: Sequence[torch.optim.Optimizer]
    ) -> tuple[int, History]:
        """Load the saved state into model and optimizers.

        Returns:
            The number of finished steps and their history; 0 and [] without a file.

        Raises:
            SpyBenchError: The file has other settings or cannot be read.
        """
        import torch

        if not self.path.is_file():
            return 0, []
        remedy = f"Remove {self.path} to start again, or use another --out."
        try:
            saved = torch.load(self.path, map_location=model.device, weights_only=True)
            settings, step, history = saved["settings"], saved["step"], saved["history"]
        except _UNREADABLE as error:
            raise SpyBenchError(f"{self.path} cannot be read. {remedy}") from error
        if settings != self.settings:
            raise SpyBenchError(
                f"{self.path}: the training of the base was started with {settings}, not with "
                f"{self.settings}. {remedy}"
            )
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        logger.info("resuming the base after step %d", step)
        return step, history

    def save(
        self,
        step: int,
        model: Any,
        optimizers: Sequence[torch.optim.Optimizer],
        history: History,
    ) -> None:
        """Replace the file by the state after `step` steps, if `step` is due (`SAVE_EVERY`)."""
        import torch

        if step % SAVE_EVERY:
            return
        states = [optimizer.state_dict() for optimizer in optimizers]
        state = {"settings": self.settings, "step": step, "history": history}
        with replacing(self.path) as temporary:
            torch.save({**state, "model": model.state_dict(), "optimizers": states}, temporary)

    def remove(self) -> None:
        """Delete the file once the base itself is written."""
        self.path.unlink(missing_ok=True)
