"""The pictures of a benchmark: where they are, that each one is whole, and the way to open one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_IN_A_CLONE = ("", "benchmark/data", "train/data")
"""Where the release's instructions put ``images/`` inside a clone."""


def check_images(benchmark: Benchmark, *, decode: bool = False) -> None:
    """Check that every picture is a file inside the root and, if asked, that it decodes.

    Raises:
        DataError: naming the first item whose picture is missing, broken or outside the root.
    """
    root = benchmark.image_root.resolve()
    seen: set[str] = set()
    for item in benchmark.items:
        if item.image_path in seen:
            continue
        seen.add(item.image_path)
        path = root / item.image_path
        where = f"item {item.benchmark_id}"
        if not path.resolve().is_relative_to(root):
            raise DataError(
                f"the picture is a link that leaves the data root {root}",
                "Put the picture itself below the root.",
                path=path,
                where=where,
            )
        if not path.is_file():
            raise DataError(
                "the picture is missing",
                f"Put the pictures below {root}, as image_path names them.",
                path=path,
                where=where,
            )
        if decode:
            check_decodes(path, where=where)


def open_rgb(path: Path) -> Image.Image:
    """Decode a picture fully, as RGB: what every model and every page is given.

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


def check_decodes(path: Path, *, where: str) -> None:
    """Decode a picture fully.

    Raises:
        DataError: it is not a picture, or broken.
    """
    try:
        open_rgb(path)
    except OSError as error:
        raise DataError(
            f"the picture does not decode ({error})", "Fetch it again.", path=path, where=where
        ) from error


def find_root(folder: Path, image_path: str) -> Path | None:
    """The folder that `image_path` is relative to, looked for at, in and above `folder`.

    A user may give the data root, a clone of the release, or the very folder of the pictures.
    """
    for place in _IN_A_CLONE:
        if (folder / place / image_path).is_file():
            return folder / place
    parents = PurePosixPath(image_path).parts[:-1]
    absolute = folder.absolute()
    for depth in range(1, len(parents) + 1):
        if absolute.parts[-depth:] != parents[:depth]:
            continue
        root = absolute.parents[depth - 1]
        if (root / image_path).is_file():
            return root
    return None


def move_below(unpacked: Path, image_path: str, root: Path) -> bool:
    """Move unpacked pictures so that `image_path` is relative to `root`, which is made.

    Archives hold ``test2017/x.jpg`` where the data say ``images/test2017/x.jpg``.

    Returns:
        False, and nothing moved, if the picture is not there under any part of its path.
    """
    parts = PurePosixPath(image_path).parts
    for place in _IN_A_CLONE:
        for depth in range(len(parts)):
            base = unpacked / place
            if (base / PurePosixPath(*parts[depth:])).is_file():
                target = root.joinpath(*parts[:depth])
                target.parent.mkdir(parents=True, exist_ok=True)
                base.rename(target)
                return True
    return False


def hash_pictures(root: Path, image_paths: Iterable[str]) -> dict[str, str]:
    """Decode every picture and give its SHA-256, several at a time, with progress.

    Raises:
        DataError: a picture is missing, broken, or a link that leaves the root.
    """
    from tqdm import tqdm

    root = root.resolve()
    paths = sorted(set(image_paths))

    def check(image_path: str) -> str:
        path = root / image_path
        if not path.resolve().is_relative_to(root):
            raise DataError(
                "the picture is a link that leaves the data root",
                "Put the picture itself below the root.",
                path=path,
            )
        if not path.is_file():
            raise DataError(
                f"the picture is missing; {len(paths):,} are needed",
                "Give a complete folder or archive of the pictures with --images.",
                path=path,
            )
        check_decodes(path, where="")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            hashes = pool.map(check, paths)
            bar = tqdm(hashes, total=len(paths), desc="checking pictures", disable=None)
            return dict(zip(paths, bar, strict=True))
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise
