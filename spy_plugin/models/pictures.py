"""Pictures loaded ahead of use, each once for all consecutive conversations that show it."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from spy_plugin.data.pictures import DECODING_ERRORS, PictureBytes, fitted_size, open_rgb
from spy_plugin.models.base import Conversation

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Loaded = tuple[Conversation, "Future[T] | None"]

_THREADS = 2
_SENT_AS_THEY_ARE = {"JPEG": ("RGB", "L"), "PNG": ("RGB", "L")}
"""Formats and modes that every server reads alike; anything else is sent as PNG."""

MAX_BYTES = 15_000_000
"""A larger picture is sent as JPEG; servers take about 20 MB, and base64 adds a third."""


def load_ahead(
    conversations: Iterable[Conversation],
    load: Callable[[Path | PictureBytes], T],
    *,
    pictures: int = 8,
) -> Generator[Loaded[T], None, None]:
    """Yield each conversation with its picture, which threads are loading or have loaded.

    Args:
        load: Called once per picture whose conversations are consecutive. What it raises is in
            the future.
        pictures: How many are loaded ahead, at most.

    Yields:
        The conversation and its picture; None for one without a picture.
    """
    waiting: deque[Loaded[T]] = deque()
    ahead = 0
    path: Path | PictureBytes | None = None
    future: Future[T] | None = None
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures")
    wanted = False
    try:
        for conversation in conversations:
            if conversation.image is None:
                yield conversation, None
                continue
            if conversation.image != path:
                while ahead >= pictures:
                    oldest = waiting.popleft()
                    if not waiting or waiting[0][1] is not oldest[1]:
                        ahead -= 1
                    yield oldest
                path = conversation.image
                future = pool.submit(load, path)
                ahead += 1
            waiting.append((conversation, future))
        while waiting:
            yield waiting.popleft()
        wanted = True
    finally:
        # At the end some are still being loaded, and will be used.
        pool.shutdown(wait=False, cancel_futures=not wanted)


def data_url(path: Path | PictureBytes) -> str:
    """A picture as a ``data:`` URL: the file's own bytes where every server reads them alike.

    That is a JPEG or PNG in RGB or grey, without transparency, that needs neither turning nor
    fitting; see `open_rgb`.

    Raises:
        OSError: it cannot be read, or is not a picture; names the file.
    """
    from PIL import Image

    picture = open_rgb(path)
    data = path.read_bytes()
    with Image.open(BytesIO(data)) as opened:
        kind, as_it_is = opened.format or "", _read_alike(opened)
    if not as_it_is:
        kind, data = "PNG", _encoded(picture, "PNG")
    if len(data) > MAX_BYTES:
        kind, data = "JPEG", _encoded(picture, "JPEG", quality=90)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"


def sent_as_it_is(path: Path) -> bool:
    """Whether `data_url` holds the file's own bytes; reads its header only.

    Raises:
        OSError: it cannot be read, or is not a picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return _read_alike(opened) and path.stat().st_size <= MAX_BYTES
    except (*DECODING_ERRORS, Image.DecompressionBombError) as error:
        raise OSError(f"{path}: the picture does not decode ({error})") from error


def _read_alike(opened: Image.Image) -> bool:
    from PIL import ExifTags

    return (
        opened.mode in _SENT_AS_THEY_ARE.get(opened.format or "", ())
        and not opened.has_transparency_data
        and fitted_size(*opened.size) == opened.size
        and opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
        and getattr(opened, "n_frames", 1) == 1
    )


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
