"""JSONL files: read them, append to them line by line, replace their content in one step."""

from __future__ import annotations

import json
import os
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from spy_plugin.errors import DataError
from spy_plugin.files.text import MAX_CHARACTERS, not_utf8, storable_json
from spy_plugin.files.writing import Closing, FileLock, open_private, replacing

_REMEDY = "Each line of the file must be one JSON object."
_LONGEST = 2**26
"""Bytes of a line; longer is a file of another kind, or a device without an end."""
_READ_AT_ONCE = 100
"""Lines of `lines_at` that are in memory."""


def read_jsonl(
    path: Path, *, allow_torn_tail: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for each non-empty line of a plain or gzipped JSONL file.

    Texts are made storable; see `files.text`.

    Args:
        allow_torn_tail: Leave out a last line without a newline that is not JSON: the mark of a
            run that was killed while it wrote.

    Raises:
        DataError: the file is missing, or a line is not a JSON object.
    """
    for number, _, row in read_placed(path, allow_torn_tail=allow_torn_tail):
        yield number, row


def read_placed(
    path: Path, *, allow_torn_tail: bool = False
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (line number, byte at which the line begins, object), otherwise as `read_jsonl`."""
    for number, place, line in _placed_lines(path):
        row = parse_line(line, path, number, allow_torn_tail=allow_torn_tail)
        if row is None:
            return
        yield number, place, row


def parse_line(
    line: bytes, path: Path | str, number: int, *, allow_torn_tail: bool = False
) -> dict[str, Any] | None:
    """Parse one line of a JSONL file; None for a torn last line where that is allowed.

    A byte order mark is left out: editors write one before the first line, and files put together
    have more of them.

    Raises:
        DataError: it is not a JSON object.
    """
    try:
        text = line.removeprefix(BOM_UTF8).decode()
        row = json.loads(text)
        # Only an escape can hold what cannot be stored, and few lines have one.
        if "\\u" in text or len(text) > MAX_CHARACTERS:
            row = storable_json(row)
    except (ValueError, RecursionError) as error:
        if allow_torn_tail and not line.endswith(b"\n"):
            return None
        kind = not_utf8(line) if isinstance(error, UnicodeDecodeError) else "not JSON"
        raise _wrong_line(f"{kind} ({error})", path, number) from error
    if not isinstance(row, dict):
        raise _wrong_line(f"a JSON {type(row).__name__}, not an object", path, number)
    found: dict[str, Any] = row
    return found


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, line with its newline) for each non-empty line, plain or gzipped.

    Raises:
        DataError: the file cannot be read, or a line is longer than `_LONGEST`.
    """
    for number, _, line in _placed_lines(path):
        yield number, line


def _placed_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    with _reading(path) as lines:
        for number, line in enumerate(lines, 1):
            if len(line) > _LONGEST:
                raise _wrong_line(f"longer than {_LONGEST:,} bytes", path, number)
            if line.strip():
                yield number, place, line
            place += len(line)


def lines_at(path: Path, places: Sequence[int]) -> Iterator[bytes]:
    """Yield the lines that begin at these bytes, each with its newline.

    The file is closed between reads of some lines, so that Windows can replace it at any time.

    Raises:
        DataError: the file cannot be read.
    """
    for start in range(0, len(places), _READ_AT_ONCE):
        lines = []
        with _open_binary(path) as file:
            for place in places[start : start + _READ_AT_ONCE]:
                file.seek(place)
                lines.append(file.readline())
        yield from lines


def pick_lines(path: Path, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, line with its newline) for some lines, much faster than `read_lines`.

    No line may be longer than `read_lines` takes.

    Args:
        numbers: Line numbers from 1; those after the end of the file are left out.

    Raises:
        DataError: the file cannot be read.
    """
    read = 0
    with _reading(path) as lines:
        for number in sorted(set(numbers)):
            for line in islice(lines, number - read - 1, number - read):
                yield number, line
            read = number


@contextmanager
def _reading(path: Path) -> Iterator[Iterator[bytes]]:
    with _open_binary(path) as file:
        try:
            yield iter(partial(file.readline, _LONGEST + 1), b"")
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(f"cannot be decoded ({error})", _REMEDY, path=path) from error


def _wrong_line(problem: str, path: Path | str, number: int) -> DataError:
    return DataError(problem, _REMEDY, path=path, where=f"line {number}")


def _open_binary(path: Path) -> IO[bytes]:
    try:
        if path.suffix == ".gz":
            import gzip

            return cast("IO[bytes]", gzip.open(path, "rb"))
        return path.open("rb")
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", "Check the path.", path=path
        ) from error


class JsonlWriter(Closing):
    """Append objects to a JSONL file, one line each, flushed at once.

    A new file is private to its user. The file is locked until it is closed, which also waits until
    the disk has it. A torn last line, left by a run that was killed, is cut
    off before the first write, so the file stays readable and the sample is simply done again; a
    file that is only opened stays as it is.

    Raises:
        DataError: another run is writing the file, or it is none, such as a device.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise DataError("is not a regular file", "Name another one.", path=path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock, self._cut = path, FileLock(path), False
        try:
            self._file = open(path, "ab", opener=open_private)  # noqa: SIM115 - closed by `close`
        except BaseException:
            self._lock.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the file is closed, as after `replace` and `close`."""
        return self._file.closed

    def write(self, row: Mapping[str, Any]) -> int:
        """Append one object; returns the byte at which its line begins."""
        self.cut_torn_tail()
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(dump_rows([row]).encode())
        self._file.flush()
        return place

    def cut_torn_tail(self) -> bool:
        """Cut a torn last line off; return whether there was one."""
        cut, self._cut = not self._cut and _cut_torn_tail(self._path), True
        return cut

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Put these objects in place of all that the file holds, in one step, and close it.

        Args:
            rows: Written as they come; they may be read from the file itself.

        Returns:
            The byte at which each line begins.
        """
        places = []
        try:
            with replacing(self._path, private=True) as temporary:
                with temporary.open("wb") as file:
                    for row in rows:
                        places.append(file.tell())
                        file.write(dump_rows([row]).encode())
                self._file.close()  # Windows cannot replace an open file
        finally:
            self.close()
        return places

    def remove(self, *beside: Path) -> None:
        """Remove the file, and release its lock.

        Args:
            beside: Files that are of no use without it; removed before the lock is released.

        Raises:
            OSError: it cannot be removed.
        """
        try:
            self._file.close()  # Windows cannot remove an open file
            self._path.unlink()
            for path in beside:
                path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file, once it is on the disk, and release its lock."""
        try:
            if not self._file.closed:
                os.fsync(self._file.fileno())
        finally:
            try:
                self._file.close()  # writes what a full disk did not take, and may fail again
            finally:
                self._lock.close()


def _cut_torn_tail(path: Path) -> bool:
    """Truncate the file after its last newline; return whether that cut anything off."""
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
    """Return the objects as JSONL, one line each; a lone surrogate is written as its escape."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode("utf-8", "backslashreplace").decode()
