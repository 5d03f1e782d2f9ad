"""A process ends together with all that it has started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

psutil = pytest.importorskip("psutil")

from spy_plugin.files.processes import end_family  # noqa: E402

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
child.wait()
"""
CHILD = """
import os, pathlib, signal, sys, time
def note(*_):
    pathlib.Path("asked").touch()
    {on_request}
signal.signal(signal.SIGTERM, note)
pathlib.Path("pid").write_text(str(os.getpid()))
time.sleep(600)
"""


def family(folder: Path, on_request: str) -> tuple[subprocess.Popen[bytes], int]:
    """A process, and the number of the one that it has started in a session of its own."""
    code = CHILD.format(on_request=on_request)
    process = subprocess.Popen([sys.executable, "-c", PARENT, code], cwd=folder)
    while not (folder / "pid").exists() or not (folder / "pid").read_text():
        time.sleep(0.01)
    return process, int((folder / "pid").read_text())


def runs(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize(
    ("grace", "on_request", "asked"),
    [(0, "pass", False), (200, "sys.exit()", True), (0.5, "pass", True)],
    ids=["killed at once", "ends when asked", "killed after the grace"],
)
def test_what_a_process_started_ends_with_it(
    tmp_path: Path, grace: float, on_request: str, asked: bool
) -> None:
    process, child = family(tmp_path, on_request)
    began = time.monotonic()
    end_family(process, grace=grace)
    assert time.monotonic() - began < 60, "of the 200 and 600 s that it must not wait for"
    assert process.returncode is not None
    assert (tmp_path / "asked").exists() == asked
    deadline = time.monotonic() + 60
    while runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_that_has_ended_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    end_family(process, grace=1)
    assert process.returncode == 0
