"""`spy-bench run lmms-eval`: exit codes and output folders, with a stubbed host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from spy_plugin.cli.main import main
from spy_plugin.errors import ALLOW_FAILED, SAMPLES_FAILED
from spy_plugin.hosts.lmms import run as launcher

Host = Callable[[], None]
HostSetter = Callable[[Host], None]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HostSetter:
    """Replace lmms-eval's command line by a function, and count the reports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["spy-bench"])
    monkeypatch.setattr(launcher, "_report", lambda out: (out / "reported").write_text(""))

    def set_host(function: Host) -> None:
        module = ModuleType("lmms_eval.cli.dispatch")
        module.main = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lmms_eval.cli.dispatch", module)

    return set_host


def _leave_results(text: str = "{}") -> None:
    out = Path(sys.argv[sys.argv.index("--output_path") + 1]) / "model"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{len(list(out.iterdir()))}_results.json").write_text(text)


def test_the_hosts_words_are_passed_on_and_the_results_reported(
    host: HostSetter, tmp_path: Path
) -> None:
    host(_leave_results)
    assert main(["run", "lmms-eval", "--", "--tasks", "spy_bench_mini", "--limit", "3"]) == 0
    assert sys.argv[1:5] == ["--tasks", "spy_bench_mini", "--limit", "3"]
    assert (tmp_path / "outputs" / "lmms-eval" / "reported").exists()


def test_a_folder_that_the_user_named_is_kept(host: HostSetter, tmp_path: Path) -> None:
    host(_leave_results)
    words = ["--tasks", "spy_bench_mini", "--output_path", "mine"]
    assert main(["run", "lmms-eval", "--", *words]) == 0
    assert sys.argv[1:] == words
    assert (tmp_path / "mine" / "reported").exists()


@pytest.mark.parametrize("place", ["taken", "taken/inside"])
def test_a_folder_that_takes_no_results_is_refused_before_the_host_starts(
    place: str, host: HostSetter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host writes its results last, so the whole run would be lost."""
    (tmp_path / "taken").write_text("a file")
    started: list[str] = []
    host(lambda: started.append("host"))
    words = ["--tasks", "spy_bench_mini", "--output_path", place]
    assert main(["run", "lmms-eval", "--", *words]) == 1
    assert f"{place}: results cannot be written there" in capsys.readouterr().err
    assert not started


def test_a_refused_run_leaves_no_folder(
    host: HostSetter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[str] = []
    host(lambda: started.append("host"))
    monkeypatch.setenv("SPY_BENCH_JUDGE", "no-such-judge")
    assert main(["run", "lmms-eval", "--", "--tasks", "spy_bench_mini"]) == 1
    assert "no-such-judge" in capsys.readouterr().err
    assert not started
    assert not list(tmp_path.iterdir())


def test_failed_samples_show_in_the_exit_code_unless_allowed(
    host: HostSetter, capsys: pytest.CaptureFixture[str]
) -> None:
    host(lambda: _leave_results('{"results": {"a": {"samples_failed,none": 2}, "mme": {}}}'))
    words = ["run", "lmms-eval", "--", "--tasks", "spy_bench_mini"]
    assert main(words) == SAMPLES_FAILED
    assert "2 samples failed" in capsys.readouterr().err
    assert main([*words, ALLOW_FAILED]) == 0
    assert ALLOW_FAILED not in sys.argv


@pytest.mark.parametrize("task", ["spy_bench_mini", "spy_bench_mini_report", "mme,spy_bench_lab"])
def test_an_unknown_judge_stops_the_launcher_before_the_host(
    task: str,
    host: HostSetter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host(lambda: pytest.fail("the host was started"))
    monkeypatch.setenv("SPY_BENCH_JUDGE", "rulez")
    assert main(["run", "lmms-eval", "--", "--tasks", task]) == 1
    assert "Did you mean rules?" in capsys.readouterr().err


def test_a_run_without_results_is_a_failure(
    host: HostSetter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host(lambda: None)  # how the host ends after an error
    assert main(["run", "lmms-eval", "--", "--tasks", "spy_bench_mini"]) == 1
    assert "left no results" in capsys.readouterr().err
    assert not (tmp_path / "outputs" / "lmms-eval" / "reported").exists()


def test_results_of_an_earlier_run_do_not_count(host: HostSetter, tmp_path: Path) -> None:
    (tmp_path / "outputs" / "lmms-eval" / "old").mkdir(parents=True)
    (tmp_path / "outputs" / "lmms-eval" / "old" / "1_results.json").write_text("{}")
    host(lambda: None)
    assert main(["run", "lmms-eval", "--", "--tasks", "spy_bench_mini"]) == 1


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (3, 3), ("why", 1)])
def test_the_hosts_exit_code_is_passed_on(
    host: HostSetter, code: object, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave() -> None:
        raise SystemExit(code)

    host(leave)
    assert main(["run", "lmms-eval", "--", "--help"]) == expected
    assert ("why" in capsys.readouterr().err) == (code == "why")


def test_only_the_first_of_several_processes_reports(
    host: HostSetter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    host(lambda: None)
    assert main(["run", "lmms-eval", "--", "--tasks", "spy_bench_mini"]) == 0
    assert not (tmp_path / "outputs").exists()
