"""The folder for caches and data, and when an error names it as a remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import concerns_home, expand, home, system_problem

REMEDY = "Check the path, its permissions and the room on its disk"


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, which is not there yet."""
    folder = tmp_path / "caches" / "spy-bench"
    monkeypatch.setenv("SPY_BENCH_HOME", str(folder))
    return folder


def problem(path: Path) -> str:
    return system_problem(OSError(errno.EACCES, os.strerror(errno.EACCES), str(path)))


def test_another_folder_for_caches_is_a_remedy_only_where_the_path_lies_in_it(
    ours: Path, tmp_path: Path
) -> None:
    more = "; SPY_BENCH_HOME names the folder for caches and data"
    inside, outside = ours / "mini" / "x.json", tmp_path / "report"
    assert problem(inside) == f"{inside}: Permission denied. {REMEDY}{more}."
    assert problem(outside) == f"{outside}: Permission denied. {REMEDY}."
    assert system_problem(OSError(errno.EIO, "Input/output error")) == (
        f"Input/output error. {REMEDY}."
    )


def test_what_keeps_the_folder_from_being_made_concerns_it(ours: Path, tmp_path: Path) -> None:
    assert concerns_home(tmp_path / "caches")
    assert not concerns_home(tmp_path)  # a folder, which takes no report: the caches are fine
    (tmp_path / "caches").write_text("a file")
    assert concerns_home(tmp_path / "caches")


def test_a_relative_path_is_one_of_the_working_folder(
    ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not concerns_home("x.json")
    ours.mkdir(parents=True)
    monkeypatch.chdir(ours)
    assert concerns_home("x.json")


def test_an_unknown_home_folder_is_said_with_what_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SpyBenchError, match=r"Set HOME, or name the whole path\.$"):
        expand("~no-such-user/x")
    monkeypatch.setenv("SPY_BENCH_HOME", "~no-such-user/x")
    with pytest.raises(SpyBenchError, match=r"caches and data in SPY_BENCH_HOME\.$"):
        home()
    assert not concerns_home("x.json")
