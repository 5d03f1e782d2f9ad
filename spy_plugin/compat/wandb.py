"""Import wandb while few modules are loaded: beside TRL's it takes seconds, before them one.

TRL imports wandb wherever it is installed, and lmms-eval installs it. wandb defines hundreds of
pydantic classes that read the docstrings of their fields from their source, and for each of them
`inspect` goes through every module that is loaded by then.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module


def import_wandb_early() -> None:
    """Import wandb if it is installed; call it before torch and TRL are imported."""
    with suppress(ImportError):  # where TRL needs it, its own import says what is wrong
        import_module("wandb")
