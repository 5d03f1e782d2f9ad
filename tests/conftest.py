"""Shared fixtures: a private cache folder, and the shared test data where they exist."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"
SHARED = ROOT.parent / "shared"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Enable gradients again: importing VLMEvalKit disables them for the whole process."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_grad_enabled(True)


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep caches out of the user's home; subprocesses inherit the setting."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("SPY_BENCH_HOME", str(home))
    for name in ("SPY_BENCH_RELEASE", "JUDGE_MODEL", "JUDGE_BASE_URL", "JUDGE_API_KEY"):
        patch.delenv(name, raising=False)
    patch.delenv("OPENAI_API_KEY", raising=False)
    return home


@pytest.fixture(autouse=True)
def private_environment() -> Iterator[None]:
    """Restore the environment after each test, since commands set variables such as a judge's key.

    Fixtures of wider scope run first, so what they set stays.
    """
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test data beside the repository; skip if it does not exist."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, which is not here")
    return SHARED


@pytest.fixture(scope="session")
def official_like(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a writer of corpora in the official layout: `official_like("--items", "5", ...)`."""

    def write(*options: str) -> Path:
        out = tmp_path_factory.mktemp("official")
        tool = shared / "tools" / "official_like.py"
        subprocess.run(
            [sys.executable, str(tool), str(out), *options], check=True, capture_output=True
        )
        return out

    return write
