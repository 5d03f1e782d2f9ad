"""Build, check and repair the folder of the embedded benchmark."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.embedded import mini
from spy_plugin.embedded.mini import cache, canvas
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.home import home


def _some_picture(root: Path) -> Path:
    return sorted((root / "images/mini").iterdir())[3]


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw only three pictures, for tests of the folder rather than of its content."""
    few = cache.pictures()[:3]
    monkeypatch.setattr(cache, "pictures", lambda: few)


@pytest.mark.usefixtures("few_pictures")
def test_default_place_is_the_users_cache_named_after_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "kept"))
    root = mini.build()
    assert root == tmp_path / "kept" / f"mini-v{mini.DATA_VERSION}-{mini.FINGERPRINT}"
    mini.verify(root)
    assert [path.name for path in root.parent.iterdir()] == [root.name], "scratch left behind"


def test_home_follows_the_xdg_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPY_BENCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "spy-bench"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert home() == Path.home() / ".cache" / "spy-bench"


def test_fingerprint_is_the_pinned_one() -> None:
    assert mini.fingerprint() == mini.FINGERPRINT


def test_two_builds_are_equal_byte_for_byte(mini_root: Path, tmp_path: Path) -> None:
    again = mini.build(tmp_path / "again")
    assert (again / "manifest.json").read_bytes() == (mini_root / "manifest.json").read_bytes()
    mini.verify(again)


def test_second_call_draws_nothing(mini_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_write", lambda folder: pytest.fail("drawn again"))
    assert mini.build(mini_root) == mini_root


@pytest.mark.usefixtures("few_pictures")
@pytest.mark.parametrize("damage", ["picture gone", "picture cut", "no manifest"])
def test_damaged_cache_is_drawn_again_with_a_log_line(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path))
    root = mini.build()
    picture = next((root / "images/mini").iterdir())
    if damage == "picture gone":
        picture.unlink()
    elif damage == "picture cut":
        picture.write_bytes(picture.read_bytes()[:500])
    else:
        (root / "manifest.json").write_text('{"benchmark": ')
    with caplog.at_level(logging.WARNING):
        assert mini.build() == root
    assert "drawing it again" in caplog.text
    mini.verify(root)


@pytest.mark.usefixtures("few_pictures")
def test_verify_names_the_file_whose_bytes_changed(tmp_path: Path) -> None:
    root = mini.build(tmp_path / "root")
    picture = next((root / "images/mini").iterdir())
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1
    picture.write_bytes(content)
    with pytest.raises(DataError, match=rf"{picture.name}.*Delete the folder"):
        mini.verify(root)


def test_a_folder_of_something_else_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="Choose another folder"):
        mini.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_unwritable_place_is_an_error_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "file"))
    with pytest.raises(SpyBenchError, match="Set SPY_BENCH_HOME"):
        mini.build()


def _build_three(root: Path) -> None:
    few = cache.pictures()[:3]
    cache.pictures = lambda: few  # type: ignore[assignment]
    mini.verify(mini.build(root))


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_processes_that_race_all_end_with_a_whole_folder(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    racers = [fork.Process(target=_build_three, args=(tmp_path / "root",)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_contact_sheet_is_one_small_png(mini_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "docs" / "sheet.png"
    mini.contact_sheet(mini_root, out)
    assert out.stat().st_size < 300_000
    with Image.open(out) as sheet:
        assert sheet.size == (1194, 606)
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_pillow_without_freetype_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canvas.features, "check", lambda feature: False)
    canvas.font.cache_clear()
    with pytest.raises(SpyBenchError, match=r"FreeType.*pip install"):
        canvas.font(20)


def test_manifest_lists_every_file(mini_root: Path) -> None:
    manifest = json.loads((mini_root / "manifest.json").read_text())
    present = {
        path.relative_to(mini_root).as_posix() for path in mini_root.rglob("*") if path.is_file()
    }
    assert set(manifest["files"]) == present - {"manifest.json"}
    picture = _some_picture(mini_root)
    entry = manifest["files"][picture.relative_to(mini_root).as_posix()]
    assert entry["bytes"] == picture.stat().st_size
