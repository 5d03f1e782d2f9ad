"""Open the pictures of a benchmark, and check that each one is there and whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError

if TYPE_CHECKING:
    from PIL import Image


def check_images(benchmark: Benchmark, *, decode: bool = False) -> None:
    """Check that every picture is a file inside the root and, if asked, that it decodes.

    Raises:
        DataError: a picture is missing, broken or outside the root; names its first item.
    """
    root = benchmark.image_root.resolve()
    first_items = {item.image_path: item for item in reversed(benchmark.items)}
    for item in reversed(first_items.values()):
        where = f"item {item.benchmark_id}"
        path = picture_file(root, item.image_path, where=where)
        if decode:
            check_decodes(path, where=where)


def hash_pictures(root: Path, image_paths: Iterable[str]) -> dict[str, str]:
    """Decode every picture and return its SHA-256, several at a time, with progress.

    Raises:
        DataError: a picture is missing, broken, or outside the root.
    """
    from tqdm import tqdm

    root = root.resolve()
    paths = sorted(set(image_paths))

    def check(image_path: str) -> str:
        path = picture_file(root, image_path, where=f"one of {len(paths):,} pictures")
        check_decodes(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            hashes = pool.map(check, paths)
            bar = tqdm(hashes, total=len(paths), desc="checking pictures", disable=None)
            return dict(zip(paths, bar, strict=True))
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise


def open_rgb(path: Path) -> Image.Image:
    """Decode a picture completely, as RGB: what every model and every page is given.

    Raises:
        OSError: it cannot be read, or is not a picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture: Image.Image = opened.convert("RGB")
            return picture
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f"the picture does not decode ({error})") from error


def check_decodes(path: Path, *, where: str = "") -> None:
    """Decode a picture completely.

    Raises:
        DataError: the file is not a picture, or broken.
    """
    try:
        open_rgb(path)
    except OSError as error:
        raise DataError(
            f"the picture does not decode ({error})", "Fetch it again.", path=path, where=where
        ) from error


def picture_file(root: Path, image_path: str, *, where: str) -> Path:
    """Return the file of a picture below the data root.

    A folder of pictures may be a link, because 17 GB often lie on another disk. A picture itself
    may only be a link to a file below the root or in its own folder.

    Args:
        root: Folder that `image_path` is relative to, resolved.
        where: The item in errors.

    Raises:
        DataError: the picture is missing, or a link to a file elsewhere.
    """
    path = root / image_path
    target = path.resolve()
    if not (target.is_relative_to(root) or target.is_relative_to(path.parent.resolve())):
        raise DataError(
            f"the picture is a link that leaves the data root {root}",
            "Put the picture itself below the root.",
            path=path,
            where=where,
        )
    if not path.is_file():
        raise DataError(
            "the picture is missing",
            f"Put all pictures below {root}, as image_path names them.",
            path=path,
            where=where,
        )
    return path
