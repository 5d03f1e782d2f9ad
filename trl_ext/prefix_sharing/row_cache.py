"""What is computed of single rows, kept on disk by the content of the row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, Image, List, config, is_caching_enabled

from spy_plugin.files.jsonl import JsonlWriter, read_jsonl


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
        """The results so far, by key."""
        if is_caching_enabled() and self.path.exists():
            for _, row in read_jsonl(self.path, allow_torn_tail=True):
                self._memory[row["row"]] = row["result"]
        return dict(self._memory)

    def add(self, results: Mapping[str, Any]) -> None:
        """Append results; for one process at a time."""
        self._memory.update(results)
        if not is_caching_enabled():
            return
        with JsonlWriter(self.path) as file:
            for key, result in results.items():
                file.write({"row": key, "result": result})


def row_keys(dataset: Dataset) -> list[str]:
    """A key of each row's content: its texts, and its pictures by what their files hold."""
    columns = [name for name in dataset.column_names if not name.startswith("ref_")]
    pictures = PictureFiles(dataset)
    texts = dataset.select_columns([name for name in columns if name not in pictures.columns])
    keys = []
    for index, row in enumerate(texts):
        content = json.dumps(row, sort_keys=True, default=str)
        shown = "".join(pictures.names(index))
        keys.append(hashlib.sha256(f"{shown}\n{content}".encode()).hexdigest()[:32])
    return keys


class PictureFiles:
    """The files of a data set's pictures, undecoded, and names for what they hold."""

    def __init__(self, dataset: Dataset) -> None:
        kinds: dict[str, Any] = {"images": List(Image(decode=False)), "image": Image(decode=False)}
        self.columns = [name for name in kinds if name in dataset.column_names]
        self._files: Any = dataset.select_columns(self.columns) if self.columns else None
        for name in self.columns:
            self._files = self._files.cast_column(name, kinds[name])
        self._digests: dict[str, str] = {}

    def names(self, index: int) -> list[str]:
        """A name for each picture of a row, equal for equal contents."""
        if self._files is None:
            return []
        row = self._files[index]
        found = [row[name] for name in self.columns]
        flat = [file for each in found for file in (each if isinstance(each, list) else [each])]
        return [self._name(file) for file in flat if file is not None]

    def _name(self, file: dict[str, Any]) -> str:
        if file["bytes"] is not None:
            return _digest(file["bytes"])
        path = file["path"]
        if path not in self._digests:
            self._digests[path] = _digest(Path(path).read_bytes())
        return self._digests[path]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
