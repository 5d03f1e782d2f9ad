"""Runs of the reference policies on the embedded benchmark, judged by rules, as a user makes them.

Their figures are those of the README's table.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from spy_plugin.cli.main import main


def make_run(folder: Path, policy: str) -> Path:
    """Generate and judge the answers of a policy; returns the folder."""
    answers = folder / f"{policy}_answers.jsonl"
    words = ["generate", "--backend", "policy", "--model", policy, "--mini", "--out", str(answers)]
    assert main(words) == 0
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    return folder


@pytest.fixture(scope="session")
def literal_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("literal"), "spy-literal")


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The oracle's run; not to be changed."""
    return make_run(tmp_path_factory.mktemp("oracle"), "spy-oracle")


@pytest.fixture
def literal(literal_template: Path, tmp_path: Path) -> Path:
    """A run of the literal policy that a test may change."""
    return Path(shutil.copytree(literal_template, tmp_path / "literal"))
