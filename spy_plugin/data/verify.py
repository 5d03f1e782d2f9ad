"""Compare what was prepared with its recorded checksums."""

from __future__ import annotations

from spy_plugin.data.pictures import hash_pictures, picture_file
from spy_plugin.data.prepared import (
    HASHES,
    RECORD,
    Part,
    blob_ids,
    fingerprint_of,
    mismatches,
    read_hashes,
    read_prepared,
)
from spy_plugin.errors import DataError, SpyBenchError


def verify(part: Part, *, pictures: bool = False) -> list[str]:
    """List what differs from when it was prepared.

    Args:
        pictures: Read every picture and compare its checksum with the recorded one; otherwise only
            check that it is there.

    Raises:
        SpyBenchError: the part was not prepared.
    """
    prepared = read_prepared(part)
    if prepared is None:
        raise SpyBenchError(f"{part} is not prepared. Run: spy-bench data prepare")
    hashes = read_hashes(part)
    problems = []
    try:
        problems += mismatches(hashes.files, blob_ids(prepared.release, hashes.files))
        if pictures:
            now = hash_pictures(prepared.image_root, hashes.images)
            problems += mismatches(hashes.images, now)
        else:
            root = prepared.image_root.resolve()
            for image_path in hashes.images:
                picture_file(root, image_path, where=f"one of {len(hashes.images):,} pictures")
    except DataError as error:
        problems.append(str(error))
    if prepared.record.fingerprint != fingerprint_of(hashes.files):
        problems.append(f"{RECORD} and {HASHES} do not belong together")
    return problems
