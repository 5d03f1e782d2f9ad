"""JSONL files: read, appended line by line, replaced in one step, locked while they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from spy_plugin.errors import DataError
from spy_plugin.files.writing import Closing, write_atomically


def read_jsonl(
    path: Path, *, allow_torn_tail: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each non-empty line of a plain or gzipped JSONL file.

    Args:
        allow_torn_tail: Leave out a last line without a newline that is not JSON: the mark of a
            run that was killed while it wrote.

    Raises:
        DataError: the file is missing, or a line is not a JSON object.
    """
    remedy = "The file must hold one JSON object a line."
    try:
        opened = _open_text(path)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", "Check the path.", path=path
        ) from error
    with opened as file:
        try:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                except ValueError as error:
                    if allow_torn_tail and not text.endswith("\n"):
                        return
                    raise DataError(
                        f"not JSON ({error})", remedy, path=path, where=f"line {number}"
                    ) from error
                if not isinstance(row, dict):
                    raise DataError(
                        f"a JSON {type(row).__name__}, not an object",
                        remedy,
                        path=path,
                        where=f"line {number}",
                    )
                yield number, row
        except (UnicodeDecodeError, EOFError, OSError) as error:
            raise DataError(f"cannot be decoded ({error})", remedy, path=path) from error


def _open_text(path: Path) -> Any:
    if path.suffix == ".gz":
        import gzip

        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


class JsonlWriter(Closing):
    """Append objects to a JSONL file, one line each, flushed at once.

    A torn last line, left by a run that was killed, is cut off before the first write, so the file
    stays readable and the sample is simply done again. A file that is only opened stays as it is.

    Raises:
        DataError: another process is writing the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, path.open("ab")
        _lock(self._file, path)
        self._cut = False

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one object."""
        line = dump_rows([row])
        self.cut_torn_tail()
        self._file.write(line.encode("utf-8", "backslashreplace"))
        self._file.flush()

    def cut_torn_tail(self) -> bool:
        """Cut a torn last line off; returns whether there was one."""
        cut, self._cut = not self._cut and _cut_torn_tail(self._path), True
        return cut

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put these objects in place of all that the file holds, in one step, and close it."""
        if os.name == "nt":  # where an open file cannot be replaced, and there is no lock to keep
            self.close()
        write_atomically(self._path, dump_rows(rows))
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep other processes from writing the file until it is closed, or this process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DataError(
            "is being written by another run", "Wait for its end, or name another file.", path=path
        ) from error
    except OSError:  # some network file systems have no locks
        return


def _cut_torn_tail(path: Path) -> bool:
    """Truncate the file after its last newline, reading backwards; returns whether it shrank."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                return file.truncate(start + newline + 1) < end
            position = start
        return file.truncate(0) < end


def dump_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Objects as JSONL text."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
