"""Pictures are loaded ahead of use, once each, and only a few at a time."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spy_plugin.data.pictures import open_rgb
from spy_plugin.models.base import Conversation
from spy_plugin.models.pictures import data_url, load_ahead, sent_as_it_is


def conversations(pictures: int, each: int) -> Iterator[Conversation]:
    for number in range(pictures):
        for turn in range(each):
            yield Conversation(f"{number}/{turn}", Path(f"{number}.png"), ("q",))


def test_each_picture_is_loaded_once_for_all_that_is_asked_about_it() -> None:
    loaded: list[str] = []
    lock = threading.Lock()

    def load(path: Path) -> str:
        with lock:
            loaded.append(path.name)
        return path.name

    found = [
        (talk.key, future.result())
        for talk, future in load_ahead(conversations(20, 5), load, pictures=3)
    ]
    assert found == [(f"{n}/{t}", f"{n}.png") for n in range(20) for t in range(5)]
    assert sorted(loaded) == sorted(f"{n}.png" for n in range(20))


def test_a_conversation_without_a_picture_waits_for_none() -> None:
    bare = Conversation("bare", None, ("q",))
    mixed = [*conversations(1, 1), bare, *conversations(2, 1)]
    found = [(talk.key, future and future.result()) for talk, future in load_ahead(mixed, str)]
    assert sorted(found, key=str) == sorted(
        [("0/0", "0.png"), ("bare", None), ("0/0", "0.png"), ("1/0", "1.png")], key=str
    )


def test_loading_is_ahead_of_use_and_bounded() -> None:
    begun: set[str] = set()
    ahead = load_ahead(conversations(20, 5), lambda path: begun.add(path.name), pictures=3)
    next(ahead)[1].result()
    for _ in range(4):
        next(ahead)
    # Three of the twenty pictures are loaded.
    assert len(begun) <= 3
    next(ahead)[1].result()
    assert len(begun) <= 4
    ahead.close()
    assert len(begun) <= 4


def test_what_is_still_being_loaded_at_the_end_is_loaded() -> None:
    go_on = threading.Event()

    def load(path: Path) -> str:
        go_on.wait(10)
        return path.name

    futures = [future for _, future in load_ahead(conversations(6, 1), load, pictures=8)]
    go_on.set()
    assert [future.result(10) for future in futures] == [f"{n}.png" for n in range(6)]


def test_a_picture_that_cannot_be_loaded_spoils_no_other() -> None:
    def load(path: Path) -> str:
        if path.name == "1.png":
            raise OSError("broken")
        return path.name

    errors = [future.exception() for _, future in load_ahead(conversations(3, 2), load)]
    assert [type(error) for error in errors] == [type(None)] * 2 + [OSError] * 2 + [type(None)] * 2


@pytest.mark.parametrize(("kind", "sent"), [("PNG", "png"), ("JPEG", "jpeg"), ("BMP", "png")])
def test_a_picture_goes_as_it_is_or_as_png(kind: str, sent: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (3, 2), (250, 0, 0)).save(path, kind)
    head, _, data = data_url(path).partition(",")
    assert head == f"data:image/{sent};base64"
    raw = base64.b64decode(data)
    assert (raw == path.read_bytes()) == (kind != "BMP")
    with Image.open(io.BytesIO(raw)) as picture:
        assert picture.size == (3, 2)


def test_what_is_no_picture_is_an_os_error(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"no picture")
    with pytest.raises(OSError, match=r"picture\.png: the picture does not decode"):
        data_url(path)


def test_a_header_that_misleads_is_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.png"
    Image.new("RGB", (30, 30)).save(path)
    assert sent_as_it_is(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match=r"bomb\.png: the picture does not decode \(Image size"):
        sent_as_it_is(path)


CLEAR = ("ink.png", "grey_ink.png", "palette_ink.png", "ink.gif", "ink.webp", "keyed.png")
"""Black ink on what is transparent, and black where nobody sees it."""
ODD = (
    *("phone.jpg", "cmyk.jpg", "palette.png", "sixteen.png", "a.webp", "moving.gif", "thin.png"),
    *CLEAR,
)


@pytest.fixture
def odd_pictures(tmp_path: Path) -> Path:
    """Pictures in forms that servers refuse or read in different ways."""
    base = Image.new("RGB", (40, 20), "white")
    base.paste("red", (0, 0, 10, 20))
    exif = base.getexif()
    exif[0x0112] = 6  # stored lying on its side
    base.save(tmp_path / "phone.jpg", exif=exif)
    base.convert("CMYK").save(tmp_path / "cmyk.jpg")
    base.convert("P").save(tmp_path / "palette.png")
    Image.fromarray(np.full((20, 40), 32768, dtype=np.uint16)).save(tmp_path / "sixteen.png")
    base.save(tmp_path / "a.webp")
    blue = Image.new("RGB", (40, 20), "blue")
    base.save(tmp_path / "moving.gif", save_all=True, append_images=[blue])
    Image.new("RGB", (2, 600), "green").save(tmp_path / "thin.png")
    ink = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    ink.paste((0, 0, 0, 255), (5, 5, 20, 15))
    ink.save(tmp_path / "ink.png")
    ink.save(tmp_path / "ink.gif")
    ink.save(tmp_path / "ink.webp", lossless=True)
    ink.convert("LA").save(tmp_path / "grey_ink.png")
    ink.quantize().save(tmp_path / "palette_ink.png")
    keyed = Image.new("L", (40, 20), 90)
    keyed.paste(0, (5, 5, 20, 15))
    keyed.save(tmp_path / "keyed.png", transparency=90)
    return tmp_path


def sent(path: Path) -> Image.Image:
    head, _, data = data_url(path).partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    assert picture.mode in ("RGB", "L")
    assert picture.getexif().get(0x0112, 1) == 1
    assert getattr(picture, "n_frames", 1) == 1
    return picture


@pytest.mark.parametrize("name", ODD)
def test_servers_get_the_pixels_that_local_models_see(name: str, odd_pictures: Path) -> None:
    seen = open_rgb(odd_pictures / name)
    assert seen.mode == "RGB"
    assert np.array_equal(np.asarray(sent(odd_pictures / name).convert("RGB")), np.asarray(seen))


def test_a_picture_is_what_a_person_sees(odd_pictures: Path) -> None:
    assert open_rgb(odd_pictures / "phone.jpg").size == (20, 40)
    assert open_rgb(odd_pictures / "sixteen.png").getpixel((0, 0)) == (128, 128, 128)
    assert open_rgb(odd_pictures / "moving.gif").getpixel((30, 10)) == (255, 255, 255)
    assert open_rgb(odd_pictures / "thin.png").size == (6, 600)


@pytest.mark.parametrize("name", CLEAR)
def test_ink_on_nothing_is_ink_on_white(name: str, odd_pictures: Path) -> None:
    picture = open_rgb(odd_pictures / name)
    assert (picture.getpixel((0, 0)), picture.getpixel((10, 10))) == ((255,) * 3, (0,) * 3)
    assert not sent(odd_pictures / name).has_transparency_data


def test_a_torn_picture_is_not_sent_and_is_named(tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole.jpg", tmp_path / "torn.jpg"
    Image.new("RGB", (60, 40), "red").save(whole)
    torn.write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(OSError, match=r"torn\.jpg: the picture does not decode"):
        data_url(torn)


def test_a_large_picture_is_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spy_plugin.data.pictures.MAX_PIXELS", 600)
    path = tmp_path / "large.png"
    Image.new("RGB", (60, 40), "red").save(path)
    assert sent(path).size == open_rgb(path).size == (30, 20)
    monkeypatch.setattr("spy_plugin.models.pictures.MAX_BYTES", 10)
    assert sent(path).format == "JPEG"
