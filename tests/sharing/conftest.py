"""A bundle of a run on the embedded benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.sharing import verify
from spy_plugin.sharing.bundle import make_bundle
from tests.report.policy_runs import literal, literal_template  # noqa: F401


@pytest.fixture
def bundle(literal: Path, tmp_path: Path) -> Path:  # noqa: F811
    out = tmp_path / "m.spybundle.zip"
    assert make_bundle(literal, out) == []
    return out


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not have the benchmark."""
    monkeypatch.setattr(verify, "open_known", lambda name: None)
