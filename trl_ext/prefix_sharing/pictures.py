"""Pictures of rows: files that are opened when needed, identified by their content."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import xxhash
from datasets import Dataset, Image, IterableDataset
from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as PILImage
from torch import Tensor

from spy_plugin.data.pictures import fitted, fitted_size, refuse_narrow, to_rgb
from trl_ext.prefix_sharing.errors import FOREIGN_ERRORS, RowError

Rows = TypeVar("Rows", Dataset, IterableDataset)

_COLUMNS = ("images", "image")


def is_transformed(dataset: Any) -> bool:
    """Return whether a transform (`set_transform`) makes the rows as they are read."""
    return isinstance(dataset, Dataset) and bool(dataset.format["type"] == "custom")


def undecoded(dataset: Rows) -> Rows:
    """Return the rows with pictures as files, `{"path", "bytes"}`, which `open_picture` opens.

    Otherwise each row would decode its picture again, and a broken one would end the run without
    naming its row. Rows that a transform makes are left to it.
    """
    if is_transformed(dataset):
        return dataset
    known = dataset.features or {}
    files = {
        name: feature
        for name in _COLUMNS
        if name in known and (feature := _undecoded_feature(known[name])) is not None
    }
    if isinstance(dataset, IterableDataset):
        for name, feature in files.items():
            dataset = dataset.cast_column(name, feature)
    elif files:
        # Files are stored alike, decoded or not; `cast_column` would write all of them again.
        dataset = copy.deepcopy(dataset)
        dataset.info.features.update(files)
    return dataset


def _undecoded_feature(feature: Any) -> Any:
    """Return the feature with pictures as files; None if it holds no pictures."""
    if isinstance(feature, Image):
        return Image(decode=False)
    if isinstance(getattr(feature, "feature", None), Image):  # a list, of whatever kind
        return replace(feature, feature=Image(decode=False))
    return None


def open_picture(image: Any) -> PILImage.Image:
    """Decode a picture, to the same pixels as `spy_plugin.data.pictures.open_rgb`.

    Args:
        image: A file as `undecoded` rows have it, its path, or a decoded picture.

    Raises:
        OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError: it does not decode, or
            is too narrow.
        TypeError: it is something else.
    """
    if isinstance(image, str | Path):
        image = {"path": str(image), "bytes": None}
    if isinstance(image, dict):
        image = Image().decode_example(image)
    if not isinstance(image, PILImage.Image):
        raise TypeError(f"it is a {type(image).__name__}, not a picture")
    refuse_narrow(*image.size)
    # Not every image processor knows palettes, four inks, 16 bits or transparency as we do.
    plain = image.mode in ("RGB", "L") and not image.has_transparency_data
    return fitted(image if plain else to_rgb(image))


def picture_size(image: Any) -> tuple[int, int]:
    """Return width and height of a picture as `open_picture` decodes it; reads only the header."""
    source = image
    if isinstance(image, dict):
        source = image.get("path") if image.get("bytes") is None else BytesIO(image["bytes"])
    if isinstance(source, str | Path) and not Path(source).is_file():
        return open_picture(image).size  # an address, or missing
    if not isinstance(source, str | Path | BytesIO):
        return open_picture(image).size
    with PILImage.open(source) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        width, height = opened.size
    refuse_narrow(width, height)
    return fitted_size(height, width) if turned else fitted_size(width, height)


def describe(image: Any) -> str:
    """Return what error messages call a picture."""
    if isinstance(image, dict):
        image = image.get("path") or "(bytes)"
    return str(image) if isinstance(image, str | Path) else "(in memory)"


def content_digest(image: PILImage.Image) -> str:
    """Return 128 bits of a decoded picture: equal for equal pictures."""
    digest = xxhash.xxh3_128(f"{image.mode} {image.size}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


class PictureFiles:
    """Names the pictures of a data set's rows by the content of their files."""

    def __init__(self, dataset: Dataset) -> None:
        self.columns = [name for name in _COLUMNS if name in dataset.column_names]
        self._files: Any = undecoded(dataset.select_columns(self.columns)) if self.columns else None
        self._digests: dict[str, str] = {}

    def names(self, index: int) -> list[str]:
        """Return a name for each picture of a row, equal for equal contents.

        Raises:
            RowError: a file cannot be read.
        """
        if self._files is None:
            return []
        row = self._files[index]
        shown = [row[name] for name in self.columns]
        flat = [image for each in shown for image in (each if isinstance(each, list) else [each])]
        try:
            return [self._name(image) for image in flat if image is not None]
        except RowError as error:
            raise RowError(error.problem, error.remedy, where=f"row {index}") from error

    def _name(self, image: Any) -> str:
        if isinstance(image, dict) and image["bytes"] is not None:
            return _digest(image["bytes"])
        path = str(image["path"] if isinstance(image, dict) else image)
        if path not in self._digests:
            try:
                self._digests[path] = _digest(Path(path).read_bytes())
            except OSError as error:
                raise RowError(
                    f"the picture {path} cannot be read ({error.strerror})",
                    "Put the file there, or leave the row out",
                ) from error
        return self._digests[path]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


class PictureGroups:
    """The picture groups of a batch: each distinct picture is opened once."""

    def __init__(self) -> None:
        self.groups: list[PictureGroup] = []
        self._opened: dict[Any, tuple[str, Any]] = {}
        self._by_content: dict[tuple[str, ...], PictureGroup] = {}

    def of(self, images: Sequence[Any]) -> PictureGroup | None:
        """Return the group of these pictures in this order; None without pictures."""
        if not images:
            return None
        opened = [self._open(image) for image in images]
        contents = tuple(digest for digest, _ in opened)
        if contents not in self._by_content:
            group = PictureGroup(len(self.groups), [picture for _, picture in opened])
            self._by_content[contents] = group
            self.groups.append(group)
        return self._by_content[contents]

    def _open(self, image: Any) -> tuple[str, Any]:
        key: Any = id(image)  # the same object, while the batch holds it
        if isinstance(image, dict):
            key = image["path"] if image.get("bytes") is None else image["bytes"]
        if key not in self._opened:
            try:
                picture = open_picture(image)
            except FOREIGN_ERRORS as error:
                # Pillow's own words name a buffer in memory.
                unknown = isinstance(error, UnidentifiedImageError)
                reason = "not a format of pictures that Pillow reads" if unknown else error
                raise RowError(
                    f"the picture {describe(image)} cannot be opened ({reason})",
                    "Replace the file, or leave the row out",
                ) from error
            self._opened[key] = (content_digest(picture), picture)
        return self._opened[key]


class PictureGroup:
    """The pictures of one group, their place in `TokenBatch.vision`, and their tensors."""

    def __init__(self, index: int, images: list[Any]) -> None:
        self.index = index
        self.images = images
        self.tensors: dict[str, Tensor] = {}
        self._features: Any = None

    @contextmanager
    def processed_once(self, image_processor: Any) -> Iterator[None]:
        """Let `image_processor` repeat its first result on further calls, while open.

        Only the processor knows how many tokens a picture takes and what surrounds them: it has
        to see the pictures with every prompt. What it makes of them does not depend on the prompt.
        """
        work = image_processor.preprocess

        def preprocess(*args: Any, **kwargs: Any) -> Any:
            if self._features is None:
                self._features = work(*args, **kwargs)
            # A copy, because processors take out entries that the model does not need.
            return type(self._features)(dict(self._features))

        image_processor.preprocess = preprocess
        try:
            yield
        finally:
            del image_processor.preprocess
