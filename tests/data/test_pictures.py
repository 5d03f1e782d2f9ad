"""Pictures are found where the data name them, and are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.benchmark.loading import load_release
from spy_plugin.data.pictures import check_images
from spy_plugin.errors import DataError
from tests.data.conftest import write_release


def test_missing_broken_and_escaping_pictures_are_refused(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    benchmark = load_release(write_release(tmp_path / "release"))
    picture = tmp_path / "release" / "images" / "test2017" / "1.jpg"
    check_images(benchmark, decode=True)
    picture.write_bytes(picture.read_bytes()[:40])
    with pytest.raises(DataError, match=r"1\.jpg, item 00000001: the picture does not decode"):
        check_images(benchmark, decode=True)
    picture.unlink()
    with pytest.raises(DataError, match=r"1\.jpg, item 00000001: the picture is missing"):
        check_images(benchmark)
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    Image.new("RGB", (8, 8)).save(outside)
    picture.symlink_to(outside)
    with pytest.raises(DataError, match="leaves the data root"):
        check_images(benchmark)


def test_pictures_may_lie_where_the_official_instructions_put_them(
    official_like: Callable[..., Path],
) -> None:
    folder = official_like("--items", "3", "--images", "2", "--release")
    (folder / "images").rename(folder / "benchmark" / "data" / "images")
    check_images(load_release(folder))


def test_a_folder_of_pictures_may_be_a_link_and_a_picture_may_not(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    benchmark = load_release(write_release(tmp_path / "release"))
    folder, disk = tmp_path / "release" / "images" / "test2017", tmp_path_factory.mktemp("disk")
    folder.rename(disk / "test2017")
    folder.symlink_to(disk / "test2017", target_is_directory=True)
    check_images(benchmark, decode=True)
    (folder / "1.jpg").unlink()
    (folder / "1.jpg").symlink_to(folder / "2.jpg")
    check_images(benchmark)
    (folder / "1.jpg").unlink()
    (disk / "other.jpg").write_bytes((folder / "2.jpg").read_bytes())
    (folder / "1.jpg").symlink_to(disk / "other.jpg")
    with pytest.raises(DataError, match=r"1\.jpg, item 00000001: the picture is a link"):
        check_images(benchmark)
