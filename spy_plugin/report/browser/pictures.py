"""Small copies of the pictures that were asked about."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spy_plugin.benchmarks import DRAWN
from spy_plugin.data.pictures import open_rgb, picture_file
from spy_plugin.errors import DataError
from spy_plugin.report.browser.columns import Samples
from spy_plugin.report.opened import open_if_here

logger = logging.getLogger(__name__)

SIDE = 640
"""Longest side of a copy, in pixels."""


def thumbnail(path: Path, side: int = SIDE) -> bytes:
    """Return a picture as a small JPEG, whose longest side has at most so many pixels.

    Raises:
        OSError: it does not decode.
    """
    small = open_rgb(path)
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def find_pictures(
    benchmarks: Iterable[str], samples: Samples, *, official: bool
) -> dict[int, Path]:
    """Return the files of the samples' pictures that are on this machine, by index of the image.

    Args:
        benchmarks: Names of the benchmarks that the samples are of.
        official: Also those of the official release; else only drawn ones.
    """
    found: dict[int, Path] = {}
    for name in benchmarks:
        benchmark = open_if_here(name) if official or name in DRAWN else None
        if benchmark is None:
            continue
        root = benchmark.image_root.resolve()
        known = {item.image_path for item in benchmark.items}
        for image, image_path in enumerate(samples.images):
            if image_path in known and image not in found:
                try:
                    found[image] = picture_file(root, image_path, where="the sample browser")
                except DataError as error:
                    logger.warning("no picture: %s", error)
    return found


def write_pictures(pictures: Mapping[int, Path], folder: Path, *, threads: int = 1) -> list[int]:
    """Write small copies as `IMAGE.jpg`; return the images that decoded."""
    folder.mkdir()

    def write(image: int) -> bool:
        try:
            (folder / f"{image}.jpg").write_bytes(thumbnail(pictures[image]))
        except OSError as error:
            logger.warning("no picture for %s: %s", image, error)
            return False
        return True

    images = sorted(pictures)
    with ThreadPoolExecutor(threads) as pool:
        return [i for i, done in zip(images, pool.map(write, images), strict=True) if done]
