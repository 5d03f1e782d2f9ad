"""Errors of options, rows and layouts; every message says what to do."""

from __future__ import annotations

from jinja2 import TemplateError
from PIL.Image import DecompressionBombError

from spy_plugin.errors import DataError, SpyBenchError

FOREIGN_ERRORS = (
    *(ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, StopIteration),
    *(SyntaxError, TypeError, ValueError, DecompressionBombError, TemplateError),
)
"""Errors of templates, processors and decoders for rows that they do not accept."""


class TrainerSetupError(SpyBenchError, ValueError):
    """An option of the trainer cannot work, or not with the others."""


class SharingUnsupportedError(ValueError):
    """These sequences, or this model, cannot share prefixes; the message says why."""


class RowError(DataError):
    """A row cannot be encoded; the message names it.

    A `DataLoader` worker's error arrives as the text of its traceback, made into an error of the
    same class, which keeps the message alone.
    """

    def __init__(self, problem: str, remedy: str = "", *, where: str = "") -> None:
        self.problem, self.remedy = problem.rstrip("."), remedy
        if remedy:
            super().__init__(self.problem, remedy, where=where)
        else:
            SpyBenchError.__init__(self, problem.rpartition("RowError: ")[2].strip())
