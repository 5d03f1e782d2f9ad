"""The folder: written in one step, ours alone to replace, and closed to other users."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.files.writing import FileLock
from spy_plugin.report import FILES, ReportOptions, browser, combine
from spy_plugin.report.browser import write
from spy_plugin.report.build import read_verdict_files
from tests.report.browser.data_files import receive
from tests.report.made_up import verdicts, write_lmms_general, write_run


@pytest.fixture
def runs(tmp_path: Path) -> list[browser.BrowsedRun]:
    write_run(tmp_path / "runs", "m", verdicts(items=10))
    return browser.browsed(read_verdict_files([tmp_path / "runs"], ReportOptions(), []))


def test_an_earlier_browser_is_replaced_as_a_whole(
    runs: list[browser.BrowsedRun], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert browser.write_browser(runs, out).samples == 50
    (out / "data" / "answers-7-0.js").write_text("of a model that is gone")
    browser.write_browser(runs, out)
    assert {path.name for path in (out / "data").iterdir()} == {"index.js", "answers-0-0.js"}
    assert not list(tmp_path.glob(".*"))
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["index.html", "notes.txt"])
def test_what_is_not_ours_is_left_alone(
    runs: list[browser.BrowsedRun], tmp_path: Path, name: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("<title>my own</title>")
    with pytest.raises(DataError, match="exists and is not a sample browser"):
        browser.write_browser(runs, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_files_that_were_added_to_a_browser_are_not_removed(
    runs: list[browser.BrowsedRun], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    browser.write_browser(runs, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"more than a sample browser \(notes.txt\)"):
        browser.write_browser(runs, out)
    assert (out / "notes.txt").read_text() == "mine"


def test_the_folder_that_one_is_in_is_refused(
    runs: list[browser.BrowsedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for folder in (Path(), tmp_path / "link"):
        with pytest.raises(DataError, match="cannot be replaced in one step"):
            browser.write_browser(runs, folder)


def test_a_failed_writing_leaves_the_earlier_browser(
    runs: list[browser.BrowsedRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    browser.write_browser(runs, out)
    before = {path: path.read_bytes() for path in out.rglob("*.js")}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_answers", fail)
    with pytest.raises(OSError, match="No space left"):
        browser.write_browser(runs, out)
    assert {path: path.read_bytes() for path in out.rglob("*.js")} == before
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_run_left_is_cleared_away(
    runs: list[browser.BrowsedRun], tmp_path: Path
) -> None:
    left = tmp_path / ".out.new.tmp" / "data"
    left.mkdir(parents=True)
    (left / "index.js").write_text("half")
    browser.write_browser(runs, tmp_path / "out")
    assert receive(tmp_path / "out" / "data" / "index.js")["version"] == 1
    assert not list(tmp_path.glob(".*"))


def test_two_runs_do_not_write_one_folder(runs: list[browser.BrowsedRun], tmp_path: Path) -> None:
    with FileLock(tmp_path / "out"), pytest.raises(DataError, match="another run"):
        browser.write_browser(runs, tmp_path / "out")


def test_several_processes_write_the_same(
    mini_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "_PARALLEL_BYTES", 0)
    runs = browser.browsed(read_verdict_files([mini_runs], ReportOptions(), []))
    for name, processes in (("one", 1), ("two", 2)):
        browser.write_browser(runs, tmp_path / name, processes=processes, copy_pictures=False)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / name / "data").iterdir()}
        for name in ("one", "two")
    )
    for files in (one, two):
        files.pop("index.js")  # holds the time
    assert one == two
    assert len(one) == 6 + 2 + 2


def test_a_report_holds_the_browser_and_links_it(mini_report: Path) -> None:
    assert {path.name for path in mini_report.iterdir()} >= {*FILES, "samples"}
    assert 'href="samples/index.html"' in (mini_report / "report.html").read_text()
    assert receive(mini_report / "samples" / "data" / "index.js")["report"] is True


def test_a_report_may_leave_the_browser_out(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "m", verdicts(items=10))
    combine([tmp_path / "runs"], tmp_path / "out", ReportOptions(resamples=20, samples=False))
    assert not (tmp_path / "out" / "samples").exists()
    assert "samples/index.html" not in (tmp_path / "out" / "report.html").read_text()


def test_a_report_refuses_what_is_not_ours_before_it_reads_a_run(tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "samples" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(DataError, match="exists and is not a sample browser"):
        combine([tmp_path / "not there"], tmp_path / "out", ReportOptions())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["samples"]
    assert foreign.read_text() == "mine"


def test_general_scores_alone_have_no_browser(tmp_path: Path) -> None:
    write_lmms_general(tmp_path / "m", "m")
    combine([tmp_path / "m"], tmp_path / "out", ReportOptions(resamples=20))
    assert not (tmp_path / "out" / "samples").exists()


def test_no_absolute_path_is_in_any_file(mini_report: Path, mini_runs: Path) -> None:
    for path in (mini_report / "samples").rglob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert str(mini_runs.parent) not in text
        assert str(Path.home()) not in text
