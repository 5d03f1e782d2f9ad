"""Write files safely: replace one in a single step, and keep other processes from writing it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from spy_plugin.errors import DataError, SpyBenchError

logger = logging.getLogger(__name__)

C = TypeVar("C", bound="Closing")

PRIVATE = 0o600
"""Mode of a file that only its user may read: what models and judges said."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems without locks answer."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk without room answers."""


class Closing(ABC):
    """Something that a `with` statement closes."""

    @abstractmethod
    def close(self) -> None:
        """Release what is open."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def file_in_the_way(folder: Path) -> Path | None:
    """Return the file that keeps a folder from being made at a path; None if nothing does."""
    # Not `Path.exists`, which raises for a path that the system refuses to look at.
    found = (each for each in (folder, *folder.parents) if os.path.exists(each))  # noqa: PTH110
    nearest = next(found, None)
    return nearest if nearest is not None and not nearest.is_dir() else None


def refuse_file_in_the_way(folder: Path, named: str, remedy: str = "Name another.") -> None:
    """Refuse a path at which no folder can be.

    Args:
        named: How the user named it, for example ``--work-dir DIR``.

    Raises:
        SpyBenchError: a file is in the way.
    """
    file = file_in_the_way(folder)
    if file is not None:
        raise SpyBenchError(f"{named}: must be a folder, but {file} is a file. {remedy}")


def missing_folders(folder: Path) -> list[Path]:
    """Return the folders that have to be made for one to exist, the innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


@contextmanager
def naming(path: Path, *temporary: Path) -> Iterator[None]:
    """Name a file or folder in the error of a full disk, which names none.

    Args:
        temporary: What stands for it meanwhile: names that the user has never seen.
    """
    try:
        yield
    except OSError as error:
        named = [each for each in (error.filename, error.filename2) if each is not None]
        if any(_is_in(each, temporary) for each in named) if named else error.errno in _NO_ROOM:
            error.filename, error.filename2 = str(path), None  # a copy names both of its files
        raise


def _is_in(named: object, places: Iterable[Path]) -> bool:
    if not isinstance(named, str | Path):
        return False
    return any(Path(named).is_relative_to(each) for each in places)


@contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a temporary file for a file's new content, which replaces the file at the end.

    Readers see the old content or the new, never a part, also after a power failure. If the writing
    fails, the old file stays and the temporary one is removed.

    Args:
        private: Let only the user read a new file; one that exists keeps its mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mode = path.stat().st_mode & 0o777 if path.exists() else PRIVATE if private else 0o666
    try:
        with naming(path, temporary):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode | PRIVATE))
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with suppress(OSError):  # a file system that is read-only refuses even what is not there
            temporary.unlink()


def write_atomically(path: Path, content: str | bytes, *, private: bool = False) -> None:
    """Replace a file in one step, with text in UTF-8; see `replacing`."""
    with replacing(path, private=private) as temporary:
        if isinstance(content, str):
            temporary.write_text(content, encoding="utf-8")
        else:
            temporary.write_bytes(content)


def replace_folder(folder: Path, new: Path, old: Path) -> None:
    """Put a complete folder in the place of another, which comes back if that is interrupted.

    Args:
        folder: The place; may be empty.
        new: The folder that moves there.
        old: A free name for the earlier one until it is removed. All three are on one disk.
    """
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if not folder.exists() and old.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def open_private(path: str | Path, flags: int) -> int:
    """Open a file that only its user may read, if it is new: an `opener` of `open`."""
    return os.open(path, flags, PRIVATE)


class FileLock(Closing):
    """Keep other processes from writing a file, until `close` or until this process ends.

    The lock is held on a file of its own, ``.NAME.lock`` beside the file: it holds on every machine
    that shares the folder, and stays valid when the file itself is replaced. `close` removes it;
    only a killed run leaves it behind, unlocked, and the next run takes it over.

    Raises:
        DataError: another run holds the lock.
        OSError: the lock file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        import filelock

        self._lock_file = path.with_name(f".{path.name}.lock")
        # A writer may be closed by another thread than the one that opened it.
        self._lock = filelock.FileLock(self._lock_file, blocking=False, thread_local=False)
        try:
            with naming(path, self._lock_file):
                # The library takes a folder that refuses new files for one where another run is.
                self._lock_file.touch(PRIVATE)
                self._lock.acquire()
        except filelock.Timeout as error:
            raise DataError(
                "is being written by another run",
                "Wait until it ends, or name another file.",
                path=path,
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning("%s: no locks here (%s); let one run at a time write it", path, error)

    def close(self) -> None:
        """Release the lock and remove its file."""
        # Removed while held: whoever opened it meanwhile sees that it is gone and tries again.
        # Windows cannot remove an open file, so there the release comes first.
        if os.name != "nt" and self._lock.is_locked:
            self._lock_file.unlink(missing_ok=True)
        self._lock.release()
        if os.name == "nt":
            with suppress(OSError):
                self._lock_file.unlink(missing_ok=True)
