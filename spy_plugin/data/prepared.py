"""The official files on this machine: which revision they are, and what was prepared of them.

`spy-bench data prepare` (see `spy_plugin.data.prepare`) writes a folder in the release's own layout
(``benchmark/...``, ``images/...``) with `RECORD` in it; everything else reads through here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from spy_plugin.errors import DataError
from spy_plugin.files.home import home
from spy_plugin.registry.catalog import releases
from spy_plugin.registry.schema import Release

Part = Literal["official", "tune"]
"""What can be prepared: the benchmark, or SPY-Tune."""

RECORD = "prepared.json"
HASHES = "hashes.json"
MAX_FILE_BYTES = 128 * 2**20
"""No file of a release is that large; JSON beyond it is refused unread."""


class PreparedRecord(BaseModel):
    """`prepared.json`.

    Attributes:
        pinned: Every file that has a known git blob id has that one.
        revision: Name of the registered release, empty for another revision.
        source: What the user gave.
        image_root: Folder that `image_path` is relative to: absolute, or below this record.
        fingerprint: See `fingerprint_of`.
        unverified: Files for which no blob id is known.
        images: How many pictures were decoded.
        created: In UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    part: Part
    pinned: bool
    revision: str
    source: str
    image_root: str = ""
    fingerprint: str
    unverified: tuple[str, ...] = ()
    images: int
    created: str
    spy_bench_version: str


class Hashes(BaseModel):
    """`hashes.json`: path -> git blob id of files, and -> SHA-256 of pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, str]
    images: dict[str, str]


@dataclass(frozen=True)
class Prepared:
    """A prepared part.

    Attributes:
        release: Folder in the release's layout, for `samples.load_release`.
        image_root: Folder that `image_path` is relative to.
        pinned: False for another revision than the registered ones: every report must say so.
        fingerprint: Of the files; equal files, equal fingerprint.
    """

    release: Path
    image_root: Path
    pinned: bool
    fingerprint: str
    record: PreparedRecord


def prepared_release() -> Prepared | None:
    """The prepared benchmark, or None if `spy-bench data prepare` has not been run.

    Raises:
        DataError: the record of it is broken.
    """
    return read_prepared("official")


def prepared_tune() -> Prepared | None:
    """Prepared SPY-Tune, or None; `trl_ext.load_spy_tune` reads its folder and image root.

    Raises:
        DataError: the record of it is broken.
    """
    return read_prepared("tune")


def folder_of(part: Part) -> Path:
    """Where a part is prepared to."""
    return home() / part


def read_prepared(part: Part) -> Prepared | None:
    """See `prepared_release`."""
    folder = folder_of(part)
    path = folder / RECORD
    if not path.is_file():
        return None
    record = _read(path, PreparedRecord)
    root = folder / record.image_root  # an absolute one stays itself
    return Prepared(folder, root, record.pinned, record.fingerprint, record)


def read_hashes(part: Part) -> Hashes:
    """Hashes of everything that was prepared.

    Raises:
        DataError: the file is missing or broken.
    """
    return _read(folder_of(part) / HASHES, Hashes)


Shape = TypeVar("Shape", PreparedRecord, Hashes)


def _read(path: Path, shape: type[Shape]) -> Shape:
    remedy = "Run: spy-bench data prepare --force"
    try:
        return shape.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", remedy, path=path) from error
    except ValidationError as error:
        raise DataError(f"is broken ({error.errors()[0]['msg']})", remedy, path=path) from error


def blob_id(path: Path) -> str:
    """Git's name of a file's content: SHA-1 of ``blob <size>\\0`` and the content.

    Raises:
        DataError: the file cannot be read, or is larger than any file of a release.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"has {size:,} bytes; no file of a release has more than {MAX_FILE_BYTES:,}",
                "Fetch the file again.",
                path=path,
            )
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})",
            "Give the root folder of a whole copy of the official release.",
            path=path,
        ) from error
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def blob_ids(folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Blob ids of some files of a release, in the order of `names`."""
    return {name: blob_id(folder / name) for name in names}


def mismatches(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One line for each file whose blob id is not the expected one; shows both."""
    return [
        f"{name}: expected {blob}, found {found[name]}"
        for name, blob in expected.items()
        if found[name] != blob
    ]


def release_of(folder: Path) -> Release | None:
    """The registered release whose files these are; None for any other revision.

    Raises:
        DataError: a file of the release is missing.
    """
    for release in releases():
        if not mismatches(release.files, blob_ids(folder, release.files)):
            return release
    return None


def fingerprint_of(blobs: Mapping[str, str]) -> str:
    """First 12 hex digits of the SHA-256 of paths and blob ids: equal files, equal print."""
    text = "".join(f"{name} {blob}\n" for name, blob in sorted(blobs.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
