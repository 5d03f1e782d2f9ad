"""Small copies: what is found, what is copied, and what does not decode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.benchmark.records import Outcome, verdict_of
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.report import ReportOptions, browser
from spy_plugin.report.browser import pictures, prompts
from spy_plugin.report.build import read_verdict_files
from tests.report.browser.data_files import receive, unpack
from tests.report.made_up import write_run


@pytest.fixture
def runs(
    benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[browser.BrowsedRun]:
    """A run on an official release of four pictures, one broken and one missing."""
    root = tmp_path / "root"
    root.mkdir()
    Image.new("RGB", (1600, 800)).save(root / "0.png")
    Image.new("P", (8, 8)).save(root / "1.png")
    (root / "2.png").write_text("not a picture")
    here = replace(benchmark, image_root=root)
    for module in (pictures, prompts):
        monkeypatch.setattr(module, "open_if_here", lambda name: here)
    found = [verdict_of(s, Outcome.RESPOND, answer="a") for s in benchmark.samples()]
    write_run(tmp_path / "runs", "m", found, benchmark="official")
    return browser.browsed(read_verdict_files([tmp_path / "runs"], ReportOptions(), []))


def test_official_pictures_are_copied_when_asked_for(
    runs: list[browser.BrowsedRun], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    browser.write_browser(runs, tmp_path / "out", pictures=True)
    index = receive(tmp_path / "out" / "data" / "index.js")
    assert index["images"] == ["0.png", "1.png", "2.png", "3.png"]
    assert unpack(index["pictures"]).tolist() == [1, 1, 0, 0]
    assert {p.name for p in (tmp_path / "out" / "pictures").iterdir()} == {"0.jpg", "1.jpg"}
    with Image.open(tmp_path / "out" / "pictures" / "0.jpg") as picture:
        assert picture.size == (640, 320)
    assert "2.png: the picture does not decode" in caplog.text
    assert "the picture is missing" in caplog.text


def test_else_their_paths_are_named(runs: list[browser.BrowsedRun], tmp_path: Path) -> None:
    browser.write_browser(runs, tmp_path / "out")
    index = receive(tmp_path / "out" / "data" / "index.js")
    assert unpack(index["pictures"]).tolist() == [0, 0, 0, 0]
    assert not list((tmp_path / "out" / "pictures").iterdir())


def test_a_server_may_make_them_later(runs: list[browser.BrowsedRun], tmp_path: Path) -> None:
    done = browser.write_browser(runs, tmp_path / "out", pictures=True, copy_pictures=False)
    assert {name: path.name for name, path in done.pictures.items()} == {
        f"pictures/{k}.jpg": f"{k}.png" for k in range(3)
    }
    assert not (tmp_path / "out" / "pictures").exists()
