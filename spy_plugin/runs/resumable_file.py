"""A file of records that is appended as they come, put in order at the end, and can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.files.writing import Closing

R = TypeVar("R")


@dataclass(frozen=True)
class RecordForm(Generic[R]):
    """How one kind of records is kept in a file.

    Attributes:
        name: What they are called in messages, for example ``answers``.
        key: The key of a record.
        load: Reads a file: the last record of each key, in the order of first mention, and how
            many keys had several; a torn last line is left out.
        dump: A record as a row.
    """

    name: str
    key: Callable[[R], str]
    load: Callable[[Path], tuple[dict[str, R], int]]
    dump: Callable[[R], Mapping[str, Any]]


class ResumableFile(Closing, Generic[R]):
    """Keyed records in a JSONL file, open and locked from the beginning until `close`.

    A last line that a killed run left torn is dropped. Of several records with one key the last
    counts; `close` leaves one record per key, in order.

    Args:
        path: The file; may exist.
        order: Every key that the file may hold, in its final order; None for any key, in the order
            of first mention.
        check_run: Called once the file is locked; refuses, by raising `DataError`, a file that was
            begun under other conditions.
        check: Called with each earlier record; refuses one that another run wrote.

    Attributes:
        records: Key -> record, those of earlier runs included.

    Raises:
        DataError: the file belongs to another run, is being written by another process, holds
            something else, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        form: RecordForm[R],
        *,
        order: Sequence[str] | None = None,
        check_run: Callable[[], None] | None = None,
        check: Callable[[R], None] | None = None,
    ) -> None:
        self.path, self.form, self._order = path, form, order
        with self.writing(), ExitStack() as until_checked:
            # Locked before anything is read or checked: from now on nobody else writes.
            self._writer = until_checked.enter_context(JsonlWriter(path))
            if check_run is not None:
                check_run()
            self.records, self._repeated = form.load(path)
            if check is not None:
                for record in self.records.values():
                    check(record)
            self._refuse_strangers()
            if self._writer.cut_torn_tail():
                self.records, self._repeated = form.load(path)
            until_checked.pop_all()

    def add(self, record: R) -> None:
        """Append one record.

        Raises:
            DataError: it cannot be written; the records before it are kept.
        """
        with self.writing():
            self._writer.write(self.form.dump(record))
        key = self.form.key(record)
        self._repeated += key in self.records
        self.records[key] = record

    def discard(self, key: str) -> None:
        """Leave a record out of the file from its `close` on."""
        del self.records[key]
        self._repeated += 1

    def close(self) -> None:
        """Put the file in order and unlock it.

        Raises:
            DataError: it cannot be written; it stays as it was appended.
        """
        order = list(self.records) if self._order is None else self._order
        keys = [key for key in order if key in self.records]
        with self.writing(), self._writer as writer:
            if self._repeated or keys != list(self.records):
                self.records = {key: self.records[key] for key in keys}
                writer.replace(map(self.form.dump, self.records.values()))
                self._repeated = 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Say what to do where the file, or one beside it, cannot be written.

        Raises:
            DataError: in place of an `OSError`.
        """
        try:
            yield
        except OSError as error:
            raise cannot_be_written(self.path, self.form.name, error) from error

    def _refuse_strangers(self) -> None:
        if self._order is None:
            return
        known = set(self._order)
        for key in self.records:
            if key not in known:
                raise DataError(
                    f"holds {self.form.name} to other samples than these",
                    "Resume with the same benchmark and variant, or give another file with --out.",
                    path=self.path,
                    where=f"sample {key}",
                )


def cannot_be_written(path: Path, holds: str, error: OSError) -> DataError:
    """The error for a file that cannot be written.

    Args:
        holds: What it is a file of, for example ``answers``.
    """
    return DataError(
        f"cannot be written ({error.strerror or error}); the {holds} up to here are kept",
        "Make room, or make the folder writable, and run again.",
        path=path,
    )
