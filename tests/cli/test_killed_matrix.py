"""A matrix that is killed leaves no command behind, and what it had done stands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from spy_plugin.models.watchdog import _descendants
from tests.cli.silent_server import SilentServer

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux only")


def words_of(pid: int) -> list[str]:
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def waits(pid: int) -> int:
    """How often a process has gone to sleep so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def test_no_command_outlives_a_killed_matrix_and_nobody_looks_for_more(tmp_path: Path) -> None:
    with closing(SilentServer()) as server:
        silent = {"backend": "openai", "model": "silent", "options": {"base_url": server.url}}
        content = {
            "data": {"mini": True},
            "models": [silent, {"backend": "policy", "model": "spy-oracle"}],
            "judge": {"name": "rules"},
            "conditions": ["distractors"],
            "limit": 20,
            "out": "out",
        }
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
        matrix = subprocess.Popen(
            [sys.executable, "-m", "spy_plugin.cli", "matrix", "m.yaml"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.DEVNULL,
        )
        page = tmp_path / "out" / "progress.txt"
        try:
            assert server.asked.wait(60)
            deadline = time.monotonic() + 60
            while "2 of 4 steps done" not in page.read_text() and time.monotonic() < deadline:
                time.sleep(0.1)
            family = _descendants([matrix.pid])
            (watch,) = (pid for pid in family if "watchdog.py" in " ".join(words_of(pid)))
            (command,) = (pid for pid in family if "generate" in words_of(pid))
            before = waits(watch)
            time.sleep(1)
            assert waits(watch) == before  # one that still looked would have waited 20 times
        finally:
            matrix.kill()
            matrix.wait()
        deadline = time.monotonic() + 30
        while words_of(command) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert words_of(command) == []
    content["models"] = content["models"][1:]  # the other one would wait for its server
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    answers = tmp_path / "out" / "spy-oracle_distractors_answers.jsonl"
    before_resuming = answers.read_bytes()
    subprocess.run(matrix.args, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert page.read_text().startswith("2 of 2 steps done")
    assert answers.read_bytes() == before_resuming
