"""What a lab keeps to when it goes on after an interruption."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.lab import models, training
from spy_plugin.lab.training import Plan


def test_a_folder_begun_with_one_process_is_not_gone_on_with_in_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "command", lambda *_: [sys.executable, "-c", ""])
    base, plan = models.folder("spy-tiny-base"), Plan(out=tmp_path)
    training.align(plan, base, "dpo", 0)
    with pytest.raises(SpyBenchError, match=r"'processes': 1.*Name another --out"):
        training.align(replace(plan, processes=2), base, "dpo", 0)
