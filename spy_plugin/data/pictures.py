"""Open the pictures of a benchmark, and check that each one is there and whole.

`open_rgb` is the one opener: hosts, backends, training and reports see the same pixels.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import warnings
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.files.threads import in_threads

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 50_000_000
"""A larger picture is reduced, so that a batch of them fits into memory."""

MAX_RATIO = 100
"""A picture whose sides differ more is padded with black: image processors refuse it (Qwen2-VL's
from 200 on), and with it its whole batch."""

DECODING_ERRORS = (SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error)
"""What Pillow raises for a damaged file, beside `OSError` and `DecompressionBombError`."""


@dataclass(frozen=True)
class PictureBytes:
    """The content of a picture's file, for a machine that does not have the file.

    Attributes:
        name: The file, as its own machine names it.
    """

    name: str
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        """Return the content, as `Path.read_bytes` does."""
        return self.data


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
    from tqdm.contrib.logging import logging_redirect_tqdm

    root = root.resolve()
    paths = sorted(set(image_paths))

    def check(image_path: str) -> str:
        path = picture_file(root, image_path, where=f"one of {len(paths):,} pictures")
        check_decodes(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    found: dict[str, str] = {}
    with (
        logging_redirect_tqdm(),
        tqdm(total=len(paths), desc="checking pictures", disable=None) as bar,
        closing(in_threads(check, paths, threads=os.cpu_count() or 1)) as checked,
    ):
        for image_path, digest in checked:
            found[image_path] = digest
            bar.update()
    return {image_path: found[image_path] for image_path in paths}


def open_rgb(path: Path | PictureBytes) -> Image.Image:
    """Decode a picture completely: what every model and every page is given.

    Returns:
        The first frame in RGB, as a person sees it: turned as its EXIF orientation says, 16 bits
        scaled to 8, transparency on white. See `fitted` for its size.

    Raises:
        OSError: it cannot be read, or is not a picture; names the file.
    """
    from PIL import Image, ImageOps

    try:
        # It warns of half the size that it refuses, and `fitted` reduces such a picture.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        source = BytesIO(path.data) if isinstance(path, PictureBytes) else path
        with Image.open(source) as opened:
            return fitted(to_rgb(ImageOps.exif_transpose(opened)))
    except FileNotFoundError:
        raise
    except (OSError, *DECODING_ERRORS, Image.DecompressionBombError) as error:
        raise OSError(f"{path}: the picture does not decode ({error})") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert a decoded picture to RGB; 16 bits are scaled to 8, not cut off.

    What is transparent becomes white, as a page shows it: behind the black ink of a signature or a
    scan, its hidden colour is often black as well.
    """
    import numpy as np
    from PIL import Image

    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    if not picture.mode.startswith("I"):
        return picture.convert("RGB")
    values = np.asarray(picture, dtype=np.float64) * (255 / 65535)
    eight_bits = np.clip(values, 0, 255).round().astype(np.uint8)
    return Image.fromarray(eight_bits).convert("RGB")


def fitted_size(width: int, height: int) -> tuple[int, int]:
    """Return the size that `fitted` gives a picture of this size, in pixels."""
    least = math.ceil(max(width, height) / MAX_RATIO)
    width, height = max(width, least), max(height, least)
    shrink = math.sqrt(min(1.0, MAX_PIXELS / (width * height)))
    return max(1, int(width * shrink)), max(1, int(height * shrink))


def fitted(picture: Image.Image) -> Image.Image:
    """Return the picture, padded if it is very narrow, and reduced if it is very large."""
    from PIL import ImageOps

    size = fitted_size(*picture.size)
    return picture if size == picture.size else ImageOps.pad(picture, size)


def refuse_narrow(width: int, height: int) -> None:
    """Refuse a picture that `fitted` would pad: a model is not trained on padding.

    Raises:
        ValueError: one side is more than `MAX_RATIO` times the other.
    """
    if max(width, height) > MAX_RATIO * min(width, height):
        raise ValueError(
            f"it has {width} x {height} pixels, and one side is more than {MAX_RATIO} times the "
            "other"
        )


def check_decodes(path: Path, *, where: str = "") -> None:
    """Decode a picture completely.

    Raises:
        DataError: the file is not a picture, or broken.
    """
    try:
        open_rgb(path)
    except OSError as error:
        reason = error.__cause__ or error
        raise DataError(
            f"the picture does not decode ({reason})", "Fetch it again.", path=path, where=where
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
