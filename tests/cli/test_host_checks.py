"""Each host is tried by its own command: what fails is said with its reason."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from spy_plugin.cli import host_checks
from spy_plugin.cli.host_checks import check_host
from spy_plugin.registry import packages
from spy_plugin.registry.packages import requirements
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys, an empty home, and SPY-Bench not switched off."""
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    for name in ("JUDGE_API_KEY", "JUDGE_BASE_URL", "OPENAI_API_KEY", "SPY_BENCH_PLUGIN"):
        monkeypatch.delenv(name, raising=False)


def host_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, startup: str) -> None:
    """Let every Python that is started from now on run `startup` first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(startup)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))


# torchvision's CUDA build fails to import beside a CPU build of torch.
IMPORTABLE = """\
from spy_plugin.compat.torchvision import declare_missing_ops
declare_missing_ops()
"""


@pytest.mark.parametrize(
    ("extra", "quick"),
    [
        ("lmms", False),
        pytest.param("lmms", True, marks=pytest.mark.slow),
        pytest.param("vlmeval", False, marks=pytest.mark.slow),
        pytest.param("vlmeval", True, marks=pytest.mark.slow),
        pytest.param("train", True, marks=pytest.mark.slow),
    ],
)
def test_the_real_hosts_work(
    extra: str, quick: bool, private_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not packages.installed(extra, requirements()[extra]):
        pytest.skip(f"{extra} is not installed")
    monkeypatch.setenv("SPY_BENCH_HOME", str(private_home))
    host_environment(monkeypatch, tmp_path / "site", IMPORTABLE)
    assert check_host(extra, quick=quick) == ""


def test_a_host_that_fails_with_exit_code_0_says_why(
    private_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What lmms-eval 0.7.3 does where filelock has no `_api`, as from 4.3 on."""
    if not packages.installed("lmms", requirements()["lmms"]):
        pytest.skip("lmms is not installed")
    without = "import sys, filelock\nfilelock.FileLock\nsys.modules['filelock._api'] = None\n"
    monkeypatch.setenv("SPY_BENCH_HOME", str(private_home))
    host_environment(monkeypatch, tmp_path / "site", IMPORTABLE + without)
    assert "filelock._api" in check_host("lmms", quick=False)


def check_of(monkeypatch: pytest.MonkeyPatch, code: str, results: str = "") -> str:
    """What a host is said to do whose command is this code."""
    check = host_checks.HostCheck("", ("-c", code), results)
    monkeypatch.setitem(host_checks.HOST_CHECKS, "lmms", check)
    return check_host("lmms", quick=False)


def test_a_check_needs_exit_code_0_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    write = "open('results', 'w').close(); print('done')"
    assert check_of(monkeypatch, write, "results") == ""
    assert check_of(monkeypatch, write, "other") == "done"
    assert check_of(monkeypatch, f"{write}; raise SystemExit(3)", "results") == "done"
    assert check_of(monkeypatch, "raise SystemExit(3)") == "exit code 3"
    assert check_of(monkeypatch, "", "results") == "it left no results"


def test_the_reason_is_the_error_and_not_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print('ValueError: why'); print('\\x1b[31mother error\\x1b[0m'); print('bye')"
    assert check_of(monkeypatch, f"{code}; raise SystemExit(1)") == "ValueError: why"
    code = "print('\\x1b[31mError during evaluation\\x1b[0m'); print('bye')"
    assert check_of(monkeypatch, code, "results") == "Error during evaluation"


def test_a_host_that_hangs_is_ended_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_checks, "SECONDS", 3)
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)"
    )
    assert check_of(monkeypatch, code) == "it did not end within 3 s"
    left = [int(pid) for pid in pids.read_text().split()]
    end = time.monotonic() + 10
    while any(map(is_running, left)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, left))


def is_running(pid: int) -> bool:
    """Whether a process is there and not only waiting to be collected by its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_host_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = host_checks.HostCheck("import no_such_host\n")
    monkeypatch.setitem(host_checks.HOST_CHECKS, "lmms", missing)
    assert check_host("lmms", quick=True) == "ModuleNotFoundError: No module named 'no_such_host'"
    unseen = host_checks.HostCheck("seen = False\n")
    monkeypatch.setitem(host_checks.HOST_CHECKS, "lmms", unseen)
    assert "SPY-Bench is not registered" in check_host("lmms", quick=True)
