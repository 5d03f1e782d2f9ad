"""Records by key that stay in their file, and are read from it when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, ValuesView
from pathlib import Path
from typing import Any, TypeVar

from spy_plugin.benchmark.records import from_json
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import lines_at, parse_line, read_placed

R = TypeVar("R", bound=Any)


class StoredRecords(Mapping[str, R]):
    """Key -> its last record in a JSONL file, in the order of first mention.

    Memory holds where each record's line begins, and no record. `values` and `read` open the file
    once, a look-up each time.

    Args:
        path: Exists; a torn last line is left out.
        kind: The dataclass of the records.
        key: The field that identifies a record.

    Attributes:
        outdated: Whether the file holds lines that count no longer.

    Raises:
        DataError: a line is not such a record; later, another program changed the file.
    """

    def __init__(self, path: Path, kind: type[R], key: str) -> None:
        self._path, self._kind, self._key = path, kind, key
        self._places: dict[str, int] = {}
        self._last = -1
        self.outdated = False
        self.catch_up()

    def catch_up(self) -> None:
        """Note each line after the last one that was noted."""
        for line, place, row in read_placed(self._path, allow_torn_tail=True):
            if place > self._last:
                record = from_json(self._kind, row, path=self._path, line=line)
                self.note(getattr(record, self._key), place)

    def note(self, key: str, place: int) -> None:
        """From now on, the line that begins at this byte holds the record of a key."""
        self.outdated |= key in self._places
        self._places[key] = self._last = place

    def discard(self, key: str) -> None:
        """The record of a key counts no longer."""
        del self._places[key]
        self.outdated = True

    def moved(self, places: Iterable[tuple[str, int]]) -> None:
        """The file was replaced, and holds the record of each of these keys, in this order."""
        self._places, self.outdated = dict(places), False

    def __getitem__(self, key: str) -> R:
        return next(self.read([key]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def values(self) -> ValuesView[R]:
        """All records, read from the file at each iteration."""
        return _InOnePass(self)

    def rows(self, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the records of some keys as the JSON that the file holds."""
        keys = list(keys)
        lines = lines_at(self._path, [self._places[key] for key in keys])
        for key, line in zip(keys, lines, strict=True):
            try:
                row = parse_line(line, self._path, 0)
            except DataError as error:
                raise self._changed(key) from error
            if row is None or row.get(self._key) != key:
                raise self._changed(key)
            yield row

    def read(self, keys: Iterable[str]) -> Iterator[R]:
        """Yield the records of some keys, as they are when the first is asked for."""
        for row in self.rows(keys):
            yield from_json(self._kind, row, path=self._path, line=0)

    def _changed(self, key: str) -> DataError:
        return DataError(
            "another program changed the file while it was in use",
            "Let one program at a time write it, and run again.",
            path=self._path,
            where=f"record {key}",
        )


class _InOnePass(ValuesView[R]):
    _mapping: StoredRecords[R]

    def __iter__(self) -> Iterator[R]:
        return self._mapping.read(self._mapping)
