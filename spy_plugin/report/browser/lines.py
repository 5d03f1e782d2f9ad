"""Lines of a file in any order, without holding the file."""

from __future__ import annotations

import gzip
import shutil
import zlib
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import parse_line
from spy_plugin.files.writing import Closing

_BLOCK = 2**20


class LineFile(Closing):
    """A JSONL file, plain or gzipped, of which any line can be read by its number.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stack = path, ExitStack()
        try:
            self._file = self._opened(path)
            self._starts = _line_starts(self._file)
        except (EOFError, OSError, zlib.error) as error:
            self.close()
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"cannot be read ({reason})", "Check the file.", path=path) from error

    def _opened(self, path: Path) -> IO[bytes]:
        if path.suffix != ".gz":
            return self._stack.enter_context(path.open("rb"))
        unpacked: IO[bytes] = TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._stack.enter_context(unpacked)
        with gzip.open(path, "rb") as packed:
            shutil.copyfileobj(packed, unpacked, _BLOCK)
        unpacked.seek(0)
        return unpacked

    def __len__(self) -> int:
        return len(self._starts)

    def row(self, number: int) -> dict[str, object]:
        """Return the object in a line, numbered from 1; empty for a torn last line.

        Raises:
            DataError: it is not a JSON object.
        """
        line = self.line(number)
        if not line.strip():
            return {}
        return parse_line(line, self._path, number, allow_torn_tail=True) or {}

    def line(self, number: int) -> bytes:
        """Return a line, numbered from 1."""
        self._file.seek(int(self._starts[number - 1]))
        return self._file.readline()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()


def _line_starts(file: IO[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the position of the first byte of each line."""
    found, position = [np.zeros(1, np.int64)], 0
    while block := file.read(_BLOCK):
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
        found.append(ends.astype(np.int64) + position + 1)
        position += len(block)
    starts = np.concatenate(found)
    return starts[starts < position]
