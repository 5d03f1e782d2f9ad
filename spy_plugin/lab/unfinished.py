"""A base's training kept on disk while it goes on, so that a killed one need not begin again."""

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
EVERY = 100
"""Steps between two writes: a minute or two of the tiny size on two cores."""
_UNREADABLE = (OSError, RuntimeError, EOFError, KeyError, TypeError, UnpicklingError)


class Unfinished:
    """One file with the weights, the optimizers' state and the history after some step.

    A step's lessons depend on nothing but the seed and its number, and nothing else is drawn. So
    with these a training goes on as if unbroken: bit for bit on one thread.

    Args:
        path: Of the file; it need not exist.
        about: What the training was begun with: numbers and words.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about

    def restore(
        self, model: Any, optimizers: Sequence[torch.optim.Optimizer]
    ) -> tuple[int, History]:
        """Put the kept state into them; returns the steps done, and their history.

        Raises:
            SpyBenchError: the file was begun with something else, or cannot be read.
        """
        import torch

        if not self.path.is_file():
            return 0, []
        remedy = f"Remove {self.path} to begin again, or name another --out."
        try:
            kept = torch.load(self.path, map_location=model.device, weights_only=True)
            about, step, history = kept["about"], kept["step"], kept["history"]
        except _UNREADABLE as error:
            raise SpyBenchError(
                f"{self.path} cannot be read as it was written. {remedy}"
            ) from error
        if about != self.about:
            raise SpyBenchError(
                f"the training of the base was begun with {about}, not with {self.about}. {remedy}"
            )
        model.load_state_dict(kept["model"])
        for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        logger.info("the base goes on after step %d", step)
        return step, history

    def keep(
        self,
        step: int,
        model: Any,
        optimizers: Sequence[torch.optim.Optimizer],
        history: History,
    ) -> None:
        """Write the state after so many steps, every `EVERY` of them, in place of the last."""
        import torch

        if step % EVERY:
            return
        states = [optimizer.state_dict() for optimizer in optimizers]
        kept = {"about": self.about, "step": step, "history": history}
        with replacing(self.path) as temporary:
            torch.save({**kept, "model": model.state_dict(), "optimizers": states}, temporary)

    def remove(self) -> None:
        """The training is done."""
        self.path.unlink(missing_ok=True)
