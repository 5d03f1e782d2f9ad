"""Check an archive as a whole, before it is unpacked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from spy_plugin.errors import DataError
from spy_plugin.registry.schema import Archive


def check_archive(
    path: Path, source: str, known: Archive | None, earlier: Mapping[str, str]
) -> str:
    """Check an archive's size and SHA-256, as far as they are known; return its SHA-256.

    Args:
        path: The archive on this machine.
        source: Where it comes from: a URL or a path.
        known: What the registry says of it, if it is registered.
        earlier: Source -> SHA-256 of the archives that were prepared before.

    Raises:
        DataError: it is not the registered file; or, where the registry names no SHA-256, not the
            one that was prepared before from the same source.
    """
    size = path.stat().st_size
    if known is not None and known.size not in (None, size):
        raise DataError(
            f"has {size:,} bytes, but {source} is registered with {known.size:,}",
            "Fetch it again.",
            path=path,
        )
    found = _sha256(path)
    registered = known.sha256 if known is not None else ""
    expected = registered or earlier.get(source, found)
    if found != expected:
        whose = "registered with" if registered else "prepared before with"
        raise DataError(
            f"has the SHA-256 {found}, but {source} was {whose} {expected}",
            "Fetch it again. If the source has changed and you trust it, pass --allow-unpinned.",
            path=path,
        )
    return found


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file that may be larger than the memory, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
