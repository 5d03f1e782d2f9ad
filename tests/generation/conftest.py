"""A command's folder and options; the shared benchmark and the misbehaving server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.models.conftest import server, server_process  # noqa: F401
from tests.models.faulty_process import ServerProcess
from tests.small_benchmark import benchmark, open_file, pictures, samples  # noqa: F401

LIMIT = "60"
STEM = "served_SPYBench_MINI"
"""The prefix of the files of a run with these options."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a command runs and writes its files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def options(at: ServerProcess, *more: str, limit: str = LIMIT) -> list[str]:
    run = ["generate", "--mini", "--backend", "openai", "--model", "served", "--limit", limit]
    return [*run, "--base-url", at.url, *more]


def in_a_process(
    words: list[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start `spy-bench`."""
    return subprocess.Popen(
        [sys.executable, "-m", "spy_plugin.cli", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[str]) -> None:
    while line_count(path) < count and process.poll() is None:
        time.sleep(0.003)
