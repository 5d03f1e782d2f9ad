"""Keep torchao from writing warnings that say nothing about the user's run.

The training extra brings torchao for its optimizer, which is pure PyTorch. transformers imports
all of torchao with every model, and torchao then warns that its compiled kernels do not load (on a
CPU none of them does) and registers two enums in a way that torch calls deprecated.
"""

from __future__ import annotations

import logging

_UNHELPFUL = {
    "torchao": "Failed to load ",
    "torch.utils._pytree": "is an Enum subclass and is now natively supported",
}
"""Logger -> part of the message that is dropped."""


class _Without(logging.Filter):
    """Drops the messages that contain a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self.text not in record.getMessage()


_FILTERS = {name: _Without(text) for name, text in _UNHELPFUL.items()}


def quiet_torchao() -> None:
    """Drop these warnings from now on; call it before transformers loads. Imports nothing."""
    for name, without in _FILTERS.items():
        logging.getLogger(name).addFilter(without)  # adding it again changes nothing
