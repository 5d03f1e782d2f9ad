"""The progress line, as a terminal shows it."""

from __future__ import annotations

import io
import time
from contextlib import redirect_stderr

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.progress import progress_bar
from spy_plugin.models.base import Reply


class Terminal(io.StringIO):
    """Keeps what is written to it."""

    def isatty(self) -> bool:
        return True

    def line(self) -> str:
        """What its last line says, without the bar."""
        return self.getvalue().rpartition("\r")[2].strip()


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")


def wait_for(text: str, terminal: Terminal) -> None:
    deadline = time.monotonic() + 20
    while text not in terminal.line():
        assert time.monotonic() < deadline, terminal.line()
        time.sleep(0.05)


def test_it_shows_engines_that_load_before_there_is_a_record() -> None:
    status: dict[str, int | str] = {}
    with (
        redirect_stderr(Terminal()) as terminal,
        progress_bar("vllm:m", 60, stopped=str, status=lambda: status) as progress,
    ):
        time.sleep(1.2)
        assert "engines" not in terminal.line()
        status = {"engines": "0 of 2 ready (45 s)", "lost": 0}
        wait_for("engines=0 of 2 ready (45 s), lost=0, failed=0]", terminal)
        assert terminal.line().startswith("vllm:m:   0%|")
        assert "| 0/60 [" in terminal.line()
        status = {"engines": "2", "lost": 0}
        progress(Reply("a", outcome=Outcome.FAILED))
        wait_for("engines=2, lost=0, failed=1]", terminal)
    assert "| 1/60 [" in terminal.line()
    assert terminal.getvalue().count("\n") == 1  # one line, until the bar ends


def test_a_model_without_a_status_leaves_the_line_alone() -> None:
    with redirect_stderr(Terminal()) as terminal, progress_bar("openai:m", 60, stopped=str):
        before = terminal.getvalue()
        time.sleep(2.2)
        assert terminal.getvalue() == before
