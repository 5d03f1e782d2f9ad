"""A run in a fork has its own folder, environment, output and end, and finds the imports done."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.warm_process import WarmProcess

SCRIPT = """\
import os, sys, time
print(sys.argv[1:], os.getcwd(), sorted(os.environ), "colorsys" in sys.modules, __name__)
print(sys.path[0], file=sys.stderr)
os.environ["LEFT"] = sys.modules["colorsys"].left = "behind"
if sys.argv[1] == "wait":
    time.sleep(60)
if sys.argv[1] == "die":
    os.kill(os.getpid(), 9)
sys.exit(sys.argv[1] if sys.argv[1] == "a reason" else int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmProcess]:
    process = WarmProcess("colorsys", environment={"NOT": "passed on"})
    yield process
    process.close()


def run(
    warm: WarmProcess, folder: Path, *words: str, seconds: float = 60, merged: bool = False
) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return warm.run(
        script, words, cwd=folder, environment={"A": "1"}, timeout=seconds, merged=merged
    )


def test_each_run_begins_anew(warm: WarmProcess, tmp_path: Path) -> None:
    for code in (0, 3):
        done = run(warm, tmp_path, str(code), "x y")
        assert done.returncode == code
        assert done.stdout == f"{[str(code), 'x y']} {tmp_path} ['A'] True __main__\n"
        assert done.stderr == f"{tmp_path}\n"


def test_a_run_may_end_in_any_way(warm: WarmProcess, tmp_path: Path) -> None:
    assert run(warm, tmp_path, "die").returncode == -9
    done = run(warm, tmp_path, "a reason")
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}\na reason\n")
    done = run(warm, tmp_path, "no number", merged=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Traceback" in done.stdout
    assert "ValueError" in done.stdout


def test_a_run_that_takes_too_long_is_ended_and_the_next_one_starts(
    warm: WarmProcess, tmp_path: Path
) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(warm, tmp_path, "wait", seconds=1)
    assert run(warm, tmp_path, "0").returncode == 0


def test_a_module_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="imports spy_bench_nowhere has ended"):
        run(WarmProcess("spy_bench_nowhere", environment={}), tmp_path, "0")
