"""Unpack archives of unknown origin: files and folders only, inside the target, within limits."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.home import concerns_home, system_problem

_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
"""First bytes of a compressed tar file -> function that decompresses it."""

_PADDING = 2**24
"""Bytes that may follow a tar file's last entry; common tools write 10 KiB at most."""

_RESERVE = 2**28
"""Bytes of a disk that are left free."""

_REFUSED = "Nothing was unpacked. Download the archive again from its official place."
_READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Limits:
    """How large an archive may become.

    Attributes:
        files: Number of entries.
        file_bytes: Size of one file, unpacked.
        total_bytes: Size of all files, unpacked.
        ratio: Unpacked over packed size: near 1 for pictures, 10 for JSON, over 1000 for a bomb.
    """

    files: int = 200_000
    file_bytes: int = 2**30
    total_bytes: int = 100 * 2**30
    ratio: int = 100

    def total_of(self, archive: Path) -> int:
        """Return the bytes that this archive may become; the ratio says little of small ones."""
        return min(self.total_bytes, self.ratio * archive.stat().st_size + 2**20)


def extract(archive: Path, target: Path, limits: Limits | None = None) -> int:
    """Unpack a zip or tar archive into a new folder.

    Links, devices, absolute paths, paths with ``..`` and duplicate paths are refused. Owners, modes
    and times are not restored.

    Returns:
        The number of files that were unpacked.

    Raises:
        DataError: the file is not an archive, is truncated, or is refused; names the entry. The
            folder is removed.
        SpyBenchError: the file cannot be read, or the folder cannot be written.
    """
    target.mkdir(parents=True)
    try:
        limits = limits or Limits()
        with _open(archive) as entries:
            return _unpack(archive, entries, target, limits)
    except _READ_ERRORS as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not the content
            raise SpyBenchError(system_problem(error)) from error
        raise DataError(
            f"cannot be unpacked, or was cut short ({error})", "Download it again.", path=archive
        ) from error
    except SpyBenchError:
        shutil.rmtree(target, ignore_errors=True)
        raise


@dataclass(frozen=True)
class _Entry:
    """A member of an archive of either kind."""

    name: str
    size: int
    is_folder: bool
    refusal: str
    content: IO[bytes] | None


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[_Entry]]:
    """Yield the members of an archive, in file order."""
    with archive.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK"):
        with zipfile.ZipFile(archive) as opened_zip:
            yield _zip_entries(opened_zip)
        return
    unpack = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), open)
    with unpack(archive, "rb") as stream:
        bounded = cast(IO[bytes], _SmallReads(stream))
        with tarfile.open(fileobj=bounded, mode="r:") as opened_tar:
            yield _tar_entries(opened_tar)
        # The checksum of a compressed file is compared where the file ends.
        if len(stream.read(_PADDING + 1)) > _PADDING:
            raise ValueError(f"more than {_PADDING:,} bytes after the last entry")


class _SmallReads:
    """A stream that refuses a single read of more than 16 MiB.

    `tarfile` reads the extension of a header in one read of whatever size the header states.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > 2**24:
            raise ValueError(f"a header of {size:,} bytes")
        return self._stream.read(size)


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for member in archive:
        refusal = "" if member.name else "has no name"
        if member.issym() or member.islnk():
            refusal = f"is a link to {member.linkname!r}"
        elif not (member.isreg() or member.isdir()):
            refusal = "is neither a file nor a folder"
        content = archive.extractfile(member) if member.isreg() else None
        yield _Entry(member.name, member.size, member.isdir(), refusal, content)


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        refusal = "" if info.filename else "has no name"
        if kind == stat.S_IFLNK:
            refusal = "is a link"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            refusal = "is neither a file nor a folder"
        elif info.flag_bits & 0x1:
            refusal = "is encrypted"
        is_folder = info.filename.endswith("/")
        content = None if refusal or is_folder else archive.open(info)
        yield _Entry(info.filename, info.file_size, is_folder, refusal, content)


def _unpack(archive: Path, entries: Iterator[_Entry], target: Path, limits: Limits) -> int:
    budget = limits.total_of(archive)
    seen: set[str] = set()
    files = 0
    for entry in entries:
        place = _place(archive, entry, target)
        if place is None:
            continue
        if len(seen) >= limits.files:
            raise _refuse(archive, entry.name, f"comes after {limits.files:,} others, the limit")
        folded = str(place.relative_to(target)).casefold()  # as on disks that ignore case
        if folded in seen and not entry.is_folder:
            raise _refuse(archive, entry.name, "is a duplicate")
        seen.add(folded)
        if entry.content is None:
            place.mkdir(parents=True, exist_ok=True)
            continue
        if entry.size > limits.file_bytes or entry.size > budget:
            raise _refuse(archive, entry.name, f"would take {entry.size:,} bytes, beyond the limit")
        budget -= _copy(archive, entry, place)
        files += 1
    return files


def _place(archive: Path, entry: _Entry, target: Path) -> Path | None:
    """Return the path of an entry, or None for the archive's root itself."""
    path = PurePosixPath(entry.name)
    if entry.refusal:
        raise _refuse(archive, entry.name, entry.refusal)
    if path.is_absolute() or ".." in path.parts or any(c in entry.name for c in "\\:\0"):
        raise _refuse(archive, entry.name, "may be outside the folder")
    return target / path if path.parts else None


def _copy(archive: Path, entry: _Entry, place: Path) -> int:
    """Write an entry's content; the real content of a zip may be longer than its header says."""
    check_room(place.parent, entry.size)
    place.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    content = entry.content
    if content is None:
        return 0
    with content, place.open("xb") as file:
        while block := content.read(1 << 20):
            written += len(block)
            if written > entry.size:
                raise _refuse(archive, entry.name, "is longer than its header says")
            file.write(block)
    if written < entry.size:
        raise DataError(
            "is truncated", "Download the archive again.", path=archive, where=repr(entry.name)
        )
    return written


def check_room(folder: Path, size: int) -> None:
    """Check that the disk of `folder` has room for `size` bytes and a reserve.

    Raises:
        SpyBenchError: it does not.
    """
    other = ", or set SPY_BENCH_HOME to a folder on another disk" if concerns_home(folder) else ""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size + _RESERVE > free:
        raise SpyBenchError(
            f"{folder}: {(size + _RESERVE) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free. "
            f"Free some space{other}."
        )


def _refuse(archive: Path, name: str, problem: str) -> DataError:
    return DataError(f"entry {name!r} {problem}", _REFUSED, path=archive)
