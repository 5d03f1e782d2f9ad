"""The private names of TRL that we use exist in the installed version."""

from __future__ import annotations

import pytest

pytest.importorskip("trl")

import trl_ext
from trl_ext import trl_surface

trl_ext.NCAPrivConfig  # noqa: B018 (loads TRL as a user's script does)


def test_no_name_has_moved():
    import trl

    assert trl_surface.moved_names() == [], f"in TRL {trl.__version__}"


def test_moved_names_are_told(monkeypatch):
    from trl import DPOTrainer

    monkeypatch.delattr(DPOTrainer, "_prepare_dataset")
    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", lambda self, batch: None)
    monkeypatch.setitem(trl_surface.USES, "a habit", "no such line")
    assert trl_surface.moved_names() == [
        "DPOTrainer._prepare_dataset",
        "DPOTrainer.compute_ref_log_probs",
        "a habit in DPOTrainer",
    ]


def test_the_package_imports_without_torch_and_trl():
    import subprocess
    import sys

    code = "import sys, trl_ext; print(sorted({'torch', 'trl', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trl_ext.nothing  # noqa: B018
