"""Judgements of earlier runs: a question that a judge has answered is not paid for again.

One SQLite file, shared by runs, models, hosts and processes. Failures are never kept.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError
from spy_plugin.files.home import concerns_home
from spy_plugin.files.writing import Closing, open_private
from spy_plugin.judging.base import Judgement, Question, digest

logger = logging.getLogger(__name__)

_VERSION = 3
"""Version of the file format, kept in SQLite's `user_version`. Format 1 lacks `_ADDED`; format 2
has one judgement per key, whoever gave it."""
_COLUMNS = ["key", "outcome", "raw", "error"]
_ADDED = ["thoughts", "answered_by"]
_TABLE = """
create table judgements (
    key text not null, outcome text not null, raw text not null, error text not null,
    thoughts text not null default '', answered_by text not null default '',
    primary key (key, answered_by)
) without rowid
"""
_SERVED = """
create table if not exists served (
    fingerprint text primary key, answered_by text not null
) without rowid
"""
_OUTCOMES = frozenset(outcome.value for outcome in Outcome if outcome is not Outcome.FAILED)
# Keys are hashes, so a row lands anywhere in the tree: many rows at a time write each page once.
_BATCH = 1024
_SECONDS = 1.0


class _WrongCacheError(Exception):
    """The file is a database, but not a cache of judgements that we can read."""


class JudgeCache(Closing):
    """A SQLite file of judgements, private to its user; safe with several threads and processes.

    Writes are gathered, up to 1,024 or for a second, so that the file is never locked while a judge
    works.

    Raises:
        DataError: the file is not such a cache, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], tuple[str, ...]] = {}
        self._written = time.monotonic()
        with self._usable():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(open_private(path, os.O_RDWR | os.O_CREAT))
            self._db = sqlite3.connect(path, timeout=60, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        """Check that the file is ours, or make an empty one ours."""
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version > _VERSION:
            raise _WrongCacheError(
                f"a newer version of spy-bench wrote it, in format {version}; upgrade this one"
            )
        tables = [name for (name,) in self._db.execute("select name from sqlite_master")]
        if tables and self._columns() not in (_COLUMNS, _COLUMNS + _ADDED):
            raise _WrongCacheError("another program wrote it")
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        if version < _VERSION or not tables:
            self._upgrade()

    def _upgrade(self) -> None:
        """Bring an empty or older file to the format of this version."""
        with self._db:
            self._db.execute("begin immediate")  # another process may do the same
            (version,) = self._db.execute("pragma user_version").fetchone()
            if version == _VERSION:
                return
            columns = ", ".join(self._columns())
            if columns:
                self._db.execute("alter table judgements rename to earlier")
            self._db.execute(_TABLE)
            if columns:
                self._db.execute(
                    f"insert into judgements ({columns}) select {columns} from earlier"
                )
                self._db.execute("drop table earlier")
            self._db.execute(_SERVED)
            self._db.execute(f"pragma user_version={_VERSION}")

    def _columns(self) -> list[str]:
        return [row[1] for row in self._db.execute("pragma table_info(judgements)")]

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Say what to do about a file that is damaged, or not ours."""
        try:
            yield
        except (sqlite3.Error, OSError, _WrongCacheError) as error:
            folder = ", or SPY_BENCH_HOME for its folder" if concerns_home(self.path) else ""
            raise DataError(
                f"cannot be used as the cache of judgements ({error})",
                f"Move the file away, name another (--cache{folder}), or do without (--no-cache).",
                path=self.path,
            ) from error

    def served(self, fingerprint: str) -> str | None:
        """The model that last judged for a judge, by its server's account; None if unknown."""
        with self._lock, self._usable():
            row = self._db.execute(
                "select answered_by from served where fingerprint = ?", (fingerprint,)
            ).fetchone()
        return str(row[0]) if row else None

    def note_served(self, fingerprint: str, answered_by: str) -> None:
        """Keep which model judges for a judge now, by its server's account."""
        with self._lock, self._writing():
            self._db.execute(
                "insert or replace into served values (?, ?)", (fingerprint, answered_by)
            )

    def get(
        self, fingerprint: str, questions: Iterable[Question], answered_by: str | None = None
    ) -> dict[int, Judgement]:
        """Return the known judgements, by index of the question.

        Args:
            answered_by: The model that judges now, by its server's account; None for any model.
                Judgements of others are left out; those that name no model are not.

        Raises:
            DataError: the file is damaged, or holds what this package does not write.
        """
        keys = [digest(fingerprint, question.key, length=32) for question in questions]
        self.flush()
        found: dict[str, Judgement] = {}
        with self._lock, self._usable():
            for start in range(0, len(keys), 500):
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                rows = self._db.execute(
                    "select key, outcome, raw, error, thoughts, answered_by from judgements "
                    f"where key in ({marks}) and (? is null or answered_by in ('', ?)) "
                    "order by answered_by",
                    [*part, answered_by, answered_by],
                )
                found |= {key: _judgement(*row) for key, *row in rows}
        return {index: found[key] for index, key in enumerate(keys) if key in found}

    def put(self, fingerprint: str, question: Question, judgement: Judgement) -> None:
        """Keep one judgement; a failure is left out."""
        if judgement.outcome is Outcome.FAILED:
            return
        key = digest(fingerprint, question.key, length=32)
        texts = (judgement.raw, judgement.error, judgement.thoughts, judgement.answered_by)
        row = (key, judgement.outcome.value, *texts)
        with self._lock:
            self._waiting[key, judgement.answered_by] = row
            due = len(self._waiting) >= _BATCH or time.monotonic() - self._written > _SECONDS
        if due:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting. A cache that cannot be written costs money, not verdicts."""
        with self._lock:
            self._written = time.monotonic()
            if not self._waiting:
                return
            rows = list(self._waiting.values())
            with self._writing():
                self._db.executemany("insert or replace into judgements values (?,?,?,?,?,?)", rows)
            self._waiting.clear()  # only now: what an interrupt kept from the file, `close` writes

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction; one that fails is reported, as it costs money, not verdicts."""
        try:
            with self._db:
                yield
        except sqlite3.Error as error:
            logger.warning("judgements not kept in %s: %s", self.path, error)

    def close(self) -> None:
        """Write what is waiting and close the file."""
        try:
            self.flush()
        finally:
            self._db.close()


def _judgement(outcome: Any, raw: Any, error: Any, thoughts: Any, answered_by: Any) -> Judgement:
    if outcome not in _OUTCOMES or not all(
        isinstance(text, str) for text in (raw, error, thoughts, answered_by)
    ):
        raise _WrongCacheError(f"it holds the outcome {outcome!r}, which this version cannot read")
    return Judgement(
        Outcome(outcome), raw, error, thoughts=thoughts, answered_by=answered_by, cached=True
    )
