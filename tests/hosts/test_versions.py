"""What ran is recorded as what it is: an installed package, or a checkout at a commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spy_plugin.hosts.versions import host_version
from spy_plugin.registry.catalog import version_of
from tests.conftest import needs

SAY = (
    "import logging\n"
    "logging.basicConfig(format='%(message)s')\n"
    "from spy_plugin.hosts.versions import host_version, warn_if_untested\n"
    "for _ in range(2):\n"
    "    warn_if_untested('lmms-eval')\n"
    "print(host_version('lmms-eval'))\n"
)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@x.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone of lmms-eval, as far as its version is concerned."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    root = tmp_path / "clone"
    (root / "lmms_eval").mkdir(parents=True)
    (root / "lmms_eval" / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text('[project]\nname = "lmms_eval"\nversion = "0.9.1"\n')
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    return root


def said(checkout: Path) -> tuple[str, str]:
    """The version that a process with the checkout on its path records, and its log."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "GIT_DIR": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", SAY], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def test_a_checkout_on_the_path_is_recorded_by_its_version_and_commit(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")[:12]
    version, log = said(checkout)
    assert version == f"0.9.1+checkout.{commit}"
    assert log.count("is not a version that SPY-Bench was tested with") == 1
    assert version in log
    assert "(0.7.3)" in log
    (checkout / "lmms_eval" / "__init__.py").write_text("changed = True\n")
    assert said(checkout)[0] == f"0.9.1+checkout.{commit}.modified"


def test_a_folder_without_history_or_inside_another_repository_has_no_commit(
    checkout: Path, tmp_path: Path
) -> None:
    inner = checkout / "third_party"
    shutil.copytree(checkout / "lmms_eval", inner / "lmms_eval")
    assert said(inner)[0] == "unknown+checkout"
    shutil.rmtree(checkout / ".git")
    assert said(checkout)[0] == "0.9.1+checkout"


@needs("lmms_eval")
def test_an_installed_host_is_recorded_by_its_package() -> None:
    assert host_version("lmms-eval") == version_of("lmms-eval")
