"""The table of a data set, into which the host puts what a model said."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from spy_plugin.files.text import storable
from spy_plugin.hosts.vlmeval.tables import PREDICTION, write_predictions


class PredictionTable(pd.DataFrame):  # type: ignore[misc]  # pandas has no types
    """A table whose predictions are storable, and whole in an Excel file; see `tables`.

    The host fills the column `prediction`, and writes the table by the methods of pandas.
    """

    @property
    def _constructor(self) -> type[PredictionTable]:
        return PredictionTable

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set a column; texts of the column `prediction` are made storable."""
        if isinstance(key, str) and key == PREDICTION and isinstance(value, Iterable):
            value = [storable(str(text)) for text in value]
        super().__setitem__(key, value)

    def to_excel(self, excel_writer: Any, *_: Any, **__: Any) -> None:
        """Write the table as `write_predictions` does, whatever options the host passes."""
        write_predictions(Path(excel_writer), self.to_dict("records"))
