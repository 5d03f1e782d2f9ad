"""A file of records that is appended as they come, put in order at the end, and can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from spy_plugin.benchmark.records import to_json
from spy_plugin.errors import DataError, SpyBenchError, system_reason
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.files.writing import Closing, missing_folders
from spy_plugin.runs.stored_records import StoredRecords

R = TypeVar("R", bound=Any)


class ResumableFile(Closing, Generic[R]):
    """Keyed records in a JSONL file, open and locked from the beginning until `close`.

    A last line that a killed run left torn is dropped. Of several records with one key the last
    counts; `close` leaves one record per key, in order.

    Args:
        path: The file; may exist.
        kind: The dataclass of the records.
        holds: What they are called in messages, for example ``answers``.
        key: The field that identifies a record.
        order: Every key that the file may hold, in its final order; None for any key, in the order
            of first mention.
        check_run: Called once the file is locked; refuses, by raising `DataError`, a file that was
            begun under other conditions.
        check: Called with each earlier record; refuses one that another run wrote.

    Attributes:
        new: There was no such file before.
        records: Key -> record, those of earlier runs included; read from the file.

    Raises:
        DataError: the file belongs to another run, is being written by another process, holds
            something else, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        kind: type[R],
        holds: str,
        *,
        key: str = "sample_id",
        order: Sequence[str] | None = None,
        check_run: Callable[[], None] = lambda: None,
        check: Callable[[R], None] | None = None,
    ) -> None:
        self.path, self._holds, self._order = path, holds, order
        self.new = not (path.exists() or path.is_symlink())
        self._made = missing_folders(path.parent)
        self._kind, self._key = kind, key
        if path.suffix == ".gz":
            raise DataError(
                "cannot be appended to, as it is compressed",
                "Name a file without .gz, and compress it at the end.",
                path=path,
            )
        with writing(path), ExitStack() as until_checked:
            # Locked before anything is read or checked: from now on nobody else writes.
            self._writer = until_checked.enter_context(JsonlWriter(path))
            check_run()
            self.records = self._read()
            if check is not None:
                for record in self.records.values():
                    check(record)
            self._refuse_strangers()
            if self._writer.cut_torn_tail():
                self.records = self._read()
            until_checked.pop_all()

    def add(self, record: R) -> None:
        """Append one record.

        Raises:
            DataError: it cannot be written; the records before it are kept.
        """
        try:
            with self._writing():
                place = self._writer.write(to_json(record))
            self.records.note(getattr(record, self._key), place)
        except KeyboardInterrupt:  # may come between the two, and `close` keeps what is noted
            self.records.catch_up()
            raise

    def discard(self, key: str) -> None:
        """Leave a record out of the file from its `close` on."""
        self.records.discard(key)

    def withdraw(self) -> None:
        """Remove the file, and the folders that were made for it; for a run that could not start.

        Raises:
            DataError: it cannot be removed.
        """
        with self._writing():
            self._writer.remove(*self._beside())
        for folder in self._made:
            with suppress(OSError):  # something else is in it by now
                folder.rmdir()

    def _beside(self) -> list[Path]:
        """Files that are of no use without this one."""
        return []

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._writer.closed

    def close(self) -> None:
        """Put the file in order and unlock it; does nothing the second time.

        Raises:
            DataError: it cannot be written; it stays as it was appended.
        """
        with self._writing(), self._writer as writer:
            if writer.closed:
                return
            order = list(self.records) if self._order is None else self._order
            keys = [key for key in order if key in self.records]
            if self.records.outdated or keys != list(self.records):
                try:
                    places = writer.replace(self.records.rows(keys))
                    self.records.moved(zip(keys, places, strict=True))
                except KeyboardInterrupt:  # the file holds the old order or the new
                    self.records = self._read()
                    raise

    def _read(self) -> StoredRecords[R]:
        return StoredRecords(self.path, self._kind, self._key)

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self.path, kept=self._holds if self.records else "")

    def _refuse_strangers(self) -> None:
        known = set(self.records if self._order is None else self._order)
        for key in self.records:
            if key not in known:
                raise DataError(
                    f"holds {self._holds} to other samples than these",
                    "Resume with the same benchmark and variant, or give another file with --out.",
                    path=self.path,
                    where=f"sample {key}",
                )


class RefusedStart:
    """Removes a new file again if the run ends before the model has answered anything.

    What cannot be written (`DataError`) is not the model's failure. A mistyped address or name
    would otherwise stay in the file, and refuse the corrected command.

    Args:
        submitted: A file that says what will be answered later, if it exists.

    Attributes:
        answered: The model has answered something.
    """

    def __init__(self, file: ResumableFile[Any], submitted: Path | None = None) -> None:
        self._file, self._submitted, self.answered = file, submitted, not file.new

    def __enter__(self) -> RefusedStart:
        return self

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        waiting = self._submitted is not None and self._submitted.exists()
        kept = self.answered or waiting or self._file.closed or isinstance(error, DataError)
        if isinstance(error, SpyBenchError) and not kept:
            self._file.withdraw()


@contextmanager
def writing(path: Path, kept: str = "") -> Iterator[None]:
    """Say what to do where a file, or one beside it, cannot be written.

    Args:
        kept: What the file holds already, for example ``answers``.

    Raises:
        DataError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        remark = f"; the {kept} up to here are kept" if kept else ""
        raise DataError(
            f"cannot be written ({system_reason(error)}){remark}",
            "Make room, make the folder writable, or name another file, and run again.",
            path=path,
        ) from error
