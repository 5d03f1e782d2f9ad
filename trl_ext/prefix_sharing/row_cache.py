"""Keeps results for single rows on disk, by the content of the row."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, config, is_caching_enabled

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter, read_jsonl
from trl_ext.prefix_sharing.pictures import PictureFiles

logger = logging.getLogger(__name__)


class RowCache:
    """Results by row, in an append-only JSONL file below the cache folder of `datasets`.

    Args:
        kind: What the results are; begins the file's name.
        identity: Tells apart all that changes a result besides the row.
    """

    def __init__(self, kind: str, identity: str) -> None:
        self.path = Path(config.HF_DATASETS_CACHE) / "spy_bench" / f"{kind}-{identity}.jsonl"
        self._memory: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Return the results so far, by key.

        Raises:
            DataError: the file holds something else.
        """
        if is_caching_enabled() and self.path.exists():
            for number, row in read_jsonl(self.path, allow_torn_tail=True):
                if not isinstance(row.get("row"), str) or "result" not in row:
                    raise DataError(
                        "not a result of a row",
                        "Delete the file: its results are computed again.",
                        path=self.path,
                        where=f"line {number}",
                    )
                self._memory[row["row"]] = row["result"]
        return dict(self._memory)

    def add(self, results: Mapping[str, Any]) -> None:
        """Append results; for one process of a run.

        Another run that writes the file at this moment keeps these results from the disk, not from
        this run.
        """
        self._memory.update(results)
        if not is_caching_enabled():
            return
        try:
            file = JsonlWriter(self.path)
        except DataError as error:  # locked
            logger.info("not kept for other runs: %s", error)
            return
        with file:
            for key, result in results.items():
                file.write({"row": key, "result": result})


def row_keys(dataset: Dataset, columns: Collection[str] | None = None) -> list[str]:
    """Return a key of each row's content: its texts, and its pictures by what their files hold.

    Args:
        dataset: The rows.
        columns: Columns that change a result; all but the reference's by default.
    """
    pictures = PictureFiles(dataset)
    texts = dataset.select_columns(
        [
            name
            for name in dataset.column_names
            if not (name.startswith("ref_") or name in pictures.columns)
            and (columns is None or name in columns)
        ]
    )
    keys = []
    for index, row in enumerate(texts):
        content = json.dumps(row, sort_keys=True, default=str)
        shown = "".join(pictures.names(index))
        keys.append(hashlib.sha256(f"{shown}\n{content}".encode()).hexdigest()[:32])
    return keys
