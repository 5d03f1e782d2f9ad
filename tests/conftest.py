"""Shared fixtures: a private cache folder, and the shared test data where they exist."""

from __future__ import annotations

import atexit
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import chromium, open_page

__all__ = ["chromium", "open_page"]

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"
SHARED = ROOT.parent / "shared"
TOGETHER = ("tests/hosts/vlmeval/", "tests/hosts/lmms/", "tests/compat/")
"""Folders whose files go to the same worker: they share a process that takes long to start."""

LONG = (
    *TOGETHER,
    "tests/trl_ext/scripts",
    "tests/models/on_ray",
    "tests/hosts",
    "tests/trl_ext",
    "tests/test_packaging.py",
    "tests/registry",
    "tests/generation",
    "tests/lab",
    "tests/report",
    "tests/judging",
    "tests/cli",
)
"""Files and folders that take longest. They come first, or one worker would wait for the other."""

# A run in the background (`make test &`) ignores Ctrl-C, and so would the programs that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if find_spec("hypothesis") is not None:  # the environment of vLLM's tests has no need of it
    from hypothesis import HealthCheck, settings

    # A busy machine draws slowly; that is not a fault of the test.
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `make test` uses, whose environment has every extra."""
    parser.addoption(
        "--nothing-missing",
        action="store_true",
        help="fail if a test is skipped because a package is not installed",
    )


def needs(module: str) -> pytest.MarkDecorator:
    """Skip a test where a package is not installed; unlike `importorskip`, import nothing."""
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of `--nothing-missing` in which a package was missing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--nothing-missing"):
        return
    reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", ())}
    missing = sorted(filter(re.compile("not installed|not import|the extra").search, reasons))
    if missing:
        reporter.section("packages are missing: run make setup", sep="=")
        reporter.write_line("\n".join(missing))
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Switch gradients on again: importing VLMEvalKit leaves them off for the whole process."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_grad_enabled(True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker a file at a time, or a folder of `TOGETHER`, where `--dist` is loadfile."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FilesAndFolders(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            folders = (folder for folder in TOGETHER if nodeid.startswith(folder))
            return next(folders, None) or super()._split_scope(nodeid)

    return FilesAndFolders(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; `--no-loadscope-reorder` keeps this order."""

    def place(item: pytest.Item) -> int:
        return next((n for n, path in enumerate(LONG) if item.nodeid.startswith(path)), len(LONG))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what the imports make out of all garbage collections.

    Every training asks for a few, and with two million such objects each takes a second.
    """
    gc.disable()
    atexit.register(gc.unfreeze)  # or libraries report that their objects were not freed
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_collect() -> None:
    """Do the same for what the tests of earlier modules have imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the caches of a test run out of the user's; programs that tests start inherit this."""
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    patch.setenv("SPY_BENCH_HOME", str(home))
    for name in ("SPY_BENCH_RELEASE", "JUDGE_MODEL", "JUDGE_BASE_URL", "JUDGE_API_KEY"):
        patch.delenv(name, raising=False)
    patch.delenv("OPENAI_API_KEY", raising=False)
    return home


@pytest.fixture(autouse=True)
def private_environment() -> Iterator[None]:
    """Undo what a test's command puts into the environment, such as a judge's key.

    Fixtures of a wider scope come first, so what they set stays.
    """
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep `make coverage` out of the programs of a test: it imports modules and writes files."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared test data beside the repository."""
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
