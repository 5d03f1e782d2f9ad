"""The official files on this machine: which revision they are, and where they were prepared.

`spy-bench data prepare` (`spy_plugin.data.prepare`) writes a folder in the release's own layout
(``benchmark/...``, ``images/...``) with `RECORD` in it. Everything else finds it through this
module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from spy_plugin.errors import DataError
from spy_plugin.files.home import home
from spy_plugin.files.json import read_json_as, refuse_newer
from spy_plugin.registry.catalog import releases
from spy_plugin.registry.schema import Release

Part = Literal["official", "tune"]
"""What can be prepared: the benchmark, or SPY-Tune."""

RECORD = "prepared.json"
HASHES = "hashes.json"
MAX_FILE_BYTES = 128 * 2**20
"""No file of a release is that large; a larger one is refused unread."""

_REMEDY = "Run: spy-bench data prepare --force"


class PreparedRecord(BaseModel):
    """`prepared.json`.

    Attributes:
        pinned: Every file whose git blob id is known has that one.
        revision: Name of the registered release, empty for another revision.
        source: The release that the user named.
        image_root: Folder that `image_path` is relative to: absolute, or below this record.
        fingerprint: See `fingerprint_of`.
        unverified: Files for which no blob id is known.
        archives: Archive, by its URL or path -> SHA-256.
        images: How many pictures were decoded.
        created: Time in UTC, ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Annotated[Literal[1], BeforeValidator(refuse_newer)] = 1
    part: Part
    pinned: bool
    revision: str
    source: str
    image_root: str = ""
    fingerprint: str
    unverified: tuple[str, ...] = ()
    archives: dict[str, str] = {}
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
        release: Folder in the release's layout, for `benchmark.loading.load_release`.
        image_root: Folder that `image_path` is relative to.
        pinned: False for a revision that is not registered, which every report must say.
        fingerprint: Identity of the files; equal files have equal fingerprints.
        record: The content of `RECORD`.
    """

    release: Path
    image_root: Path
    pinned: bool
    fingerprint: str
    record: PreparedRecord


def folder_of(part: Part) -> Path:
    """Return the folder that a part is prepared in."""
    return home() / part


def read_prepared(part: Part) -> Prepared | None:
    """Return a prepared part, or None if it has not been prepared.

    Raises:
        DataError: its record is broken.
    """
    folder = folder_of(part)
    return read_prepared_folder(folder) if (folder / RECORD).is_file() else None


def read_prepared_folder(folder: Path) -> Prepared:
    """Return the prepared part in a folder.

    Raises:
        DataError: its record is missing or broken.
    """
    record = read_json_as(PreparedRecord, folder / RECORD, _REMEDY)
    root = folder / record.image_root  # an absolute one stays itself
    return Prepared(folder, root, record.pinned, record.fingerprint, record)


def read_hashes(part: Part) -> Hashes:
    """Return the hashes of everything that was prepared.

    Raises:
        DataError: the file is missing or broken.
    """
    return read_json_as(Hashes, folder_of(part) / HASHES, _REMEDY)


def blob_id(path: Path) -> str:
    """Return git's name of a file's content: SHA-1 of ``blob <size>\\0`` and the content.

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
            "Give the root folder of a complete copy of the official release.",
            path=path,
        ) from error
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def blob_ids(folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Return the blob ids of some files of a release, in the order of `names`."""
    return {name: blob_id(folder / name) for name in names}


def mismatches(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return a line with both ids for each file whose id is not the expected one."""
    return [
        f"{name}: expected {blob}, found {found[name]}"
        for name, blob in expected.items()
        if found[name] != blob
    ]


def release_of(folder: Path) -> Release | None:
    """Return the registered release that these files are, or None for any other revision.

    Raises:
        DataError: a file of the release is missing.
    """
    for release in releases():
        if not mismatches(release.files, blob_ids(folder, release.files)):
            return release
    return None


def fingerprint_of(blobs: Mapping[str, str]) -> str:
    """Return the first 12 hex digits of the SHA-256 of paths and blob ids."""
    text = "".join(f"{name} {blob}\n" for name, blob in sorted(blobs.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
