"""The file format of a bundle: a zip of JSON files with a manifest of their hashes.

A bundle comes from strangers. It is read in memory, entry by entry, within bounds; nothing is ever
unpacked to the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from spy_plugin import __version__
from spy_plugin.errors import DataError
from spy_plugin.files.json import checked, finite, refuse_constant, refuse_newer
from spy_plugin.files.text import storable_json
from spy_plugin.files.writing import replacing

MANIFEST = "manifest.json"
NAME = re.compile(
    r"runs/[1-9]\d{0,3}/(?:run|figures)\.json|runs/[1-9]\d{0,3}/(?:answers|verdicts|samples)\.jsonl"
)
"""What an entry beside the manifest may be called."""

REMEDY = "Ask for the bundle again, as `spy-bench bundle` wrote it."

MOST_ENTRIES = 1001
MOST_BYTES_OF_ONE = 2**28
MOST_BYTES = 2**29
"""The official benchmark's 32,700 samples take 2**26 bytes at most in practice."""

_END, _LOCATOR = 22, 20
"""Bytes of the records at the end of a zip: of the list of entries, and of one beyond 4 GiB."""
_MOST_BYTES_OF_INFO = 400

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_TIME = (1980, 1, 1, 0, 0, 0)
_READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """What the manifest says of a file."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, strict=True)


class Manifest(_Part):
    """The content of `manifest.json`."""

    format: Literal["spy-bench bundle"] = "spy-bench bundle"
    version: Annotated[Literal[1], BeforeValidator(refuse_newer)] = 1
    spy_bench_version: str
    files: dict[str, Entry]


def describe_files(files: Mapping[str, bytes]) -> dict[str, Entry]:
    """Return the hash and the size of each file."""
    return {
        name: Entry(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in sorted(files.items())
    }


def write_bundle(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files and their manifest as a zip; equal files give an equal zip.

    Raises:
        OSError: it cannot be written.
    """
    manifest = Manifest(spy_bench_version=__version__, files=describe_files(files))
    text = manifest.model_dump_json(indent=1) + "\n"
    with replacing(path, private=True) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in [(MANIFEST, text.encode()), *sorted(files.items())]:
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, compresslevel=9)


def read_bundle(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Read a bundle's manifest and its other files; compares no hashes.

    Raises:
        DataError: it is not a bundle, or has an entry that none has: a link, a path, a duplicate,
            an encrypted one, or one that is too large.
    """
    try:
        _refuse_large_directory(path)
        with zipfile.ZipFile(path) as archive:
            files = _read_entries(archive, path)
    except _READ_ERRORS as error:
        if isinstance(error, OSError) and error.strerror:
            problem = f"cannot be read ({error.strerror})"
            raise DataError(problem, "Check the path.", path=path) from error
        raise DataError(f"is not a whole zip file ({error})", REMEDY, path=path) from error
    content = files.pop(MANIFEST, None)
    if content is None:
        raise DataError(f"has no {MANIFEST}", REMEDY, path=path)
    where = f"{path}: {MANIFEST}"
    manifest = checked(Manifest.model_validate, parse_json(content, where), REMEDY, path=where)
    return manifest, files


def _refuse_large_directory(path: Path) -> None:
    """Check the size of a zip's list of entries, which `zipfile` reads whole when it opens one.

    Raises:
        ValueError: it is too large, or the file does not end as `write_bundle` ends one.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(max(0, end - _END - _LOCATOR))
        tail = file.read()
    if tail[-_END:][:4] != b"PK\5\6" or tail[:4] == b"PK\6\7":
        raise ValueError("it does not end in a plain list of entries")
    (size,) = struct.unpack("<I", tail[-_END:][12:16])
    if size > MOST_ENTRIES * _MOST_BYTES_OF_INFO:
        raise ValueError(f"its list of entries takes {size:,} bytes")


def _read_entries(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise DataError(f"has {len(entries):,} entries", REMEDY, path=path)
    left = MOST_BYTES
    files: dict[str, bytes] = {}
    for info in entries:
        problem = _problem_of(info, files, left)
        if problem:
            raise DataError(problem, REMEDY, path=path, where=f"entry {info.filename[:200]!r}")
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)
        if len(content) != info.file_size:
            raise DataError(
                "is not as long as its header says", REMEDY, path=path, where=info.filename
            )
        left -= len(content)
        files[info.filename] = content
    return files


def _problem_of(info: zipfile.ZipInfo, files: Mapping[str, bytes], left: int) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.filename != MANIFEST and not NAME.fullmatch(info.filename):
        return "is not a file of a bundle"
    if info.filename in files:
        return "is a duplicate"
    if kind not in (0, stat.S_IFREG):
        return "is a link or another special file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in _METHODS:
        return "is compressed by another method than deflate"
    if info.file_size > min(left, MOST_BYTES_OF_ONE):
        return f"would take {info.file_size:,} bytes, beyond the limit"
    return ""


def parse_json(content: bytes, where: str) -> object:
    """Parse a JSON file of a bundle; texts are made storable.

    Raises:
        DataError: it is not JSON.
    """
    try:
        text = content.decode()
        value = json.loads(text, parse_constant=refuse_constant, parse_float=finite)
        return storable_json(value)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON ({error})", REMEDY, path=where) from error
