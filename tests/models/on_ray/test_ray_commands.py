"""`spy-bench ... --ray local`, stopped or killed, leaves no process; one engine resumes the run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spy_plugin.models.watchdog import _descendants
from tests.conftest import ROOT, needs
from tests.generation.conftest import line_count, wait_for_lines

from . import fake_engine

pytestmark = needs("ray")

LIMIT = "60"
ON_RAY = ("--ray", "local", "--engines", "1")
ANSWERS = Path("a_answers.jsonl")


def words(pids: Path, delay: float = 0.2) -> list[str]:
    arguments = json.dumps({"pids": str(pids), "delay": delay})
    return [
        *("generate", "--mini", "--backend", "transformers", "--model", "spy-tiny-base"),
        *("--limit", LIMIT, "--out", str(ANSWERS), "--engine-args", arguments),
    ]


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, fake_engine.__file__, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def outlived(pids: list[int], seconds: float = 60) -> list[int]:
    """Those of some processes that still run after a while."""
    deadline = time.monotonic() + seconds
    while pids and time.monotonic() < deadline:
        pids = [pid for pid in pids if _runs(pid)]
        time.sleep(0.05)
    return pids


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def listening(pids: list[int]) -> set[str]:
    """The addresses that some processes listen at."""
    import psutil

    return {
        connection.laddr.ip
        for pid in pids
        for connection in psutil.Process(pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def variables(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def check_ray(family: list[int]) -> None:
    """Ray listens on loopback alone, asks for a token, reports nothing and has no dashboard."""
    assert listening(family) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    programs = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in family}
    (raylet,) = (pid for pid, words in programs.items() if "--raylet_socket_name" in words)
    given = variables(raylet)
    assert (given["RAY_AUTH_MODE"], given["RAY_USAGE_STATS_ENABLED"]) == ("token", "0")
    assert re.fullmatch("[0-9a-f]{64}", given["RAY_AUTH_TOKEN"])
    assert given["RAY_AUTH_TOKEN"] not in "".join(programs.values())  # anyone may read those
    heads = [words for words in programs.values() if "dashboard/dashboard.py" in words]
    assert all("--disable-frontend" in words for words in heads)


@pytest.mark.usefixtures("unmeasured")
def test_killed_and_stopped_runs_leave_nothing_and_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (pids := tmp_path / "pids").mkdir()
    for end, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with started([*words(pids), *ON_RAY]) as process:
            wait_for_lines(ANSWERS, line_count(ANSWERS) + 5, process)
            family = _descendants([process.pid])
            assert len(family) > 4
            check_ray(family)
            process.send_signal(end)
            said = process.communicate(timeout=120)[0]
            assert process.returncode == code, said
            assert outlived(family) == []
    assert "To resume" in said
    assert "raylet" not in said
    with started(words(pids, delay=0)) as process:
        said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    assert f"answered {LIMIT}, filtered 0, failed 0" in said
    answers = [json.loads(line) for line in ANSWERS.read_text().splitlines()]
    assert len({answer["sample_id"] for answer in answers}) == len(answers) == int(LIMIT)
