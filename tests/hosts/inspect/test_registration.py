"""What inspect_ai loads at its start is found, quick, and harmless."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spy_plugin.cli.host_checks import check_host
from tests.conftest import ROOT, needs

pytestmark = [pytest.mark.inspect, needs("inspect_ai")]

START = """
import sys
import inspect_ai
before = set(sys.modules)
{spoil}
from inspect_ai._util.entrypoints import ensure_entry_points
ensure_entry_points()
new = {{name for name in set(sys.modules) - before if sys.modules[name] is not None}}
print(sorted(new & {{'spy_bench', 'spy_plugin', 'numpy', 'PIL', 'torch', 'pandas'}}))
"""


def start(spoil: str, folder: Path) -> str:
    code = START.format(spoil=spoil)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def test_at_its_start_inspect_imports_one_small_module_of_ours(tmp_path: Path) -> None:
    assert start("", tmp_path) == "['spy_bench']"


def test_a_broken_installation_does_not_stop_inspect(tmp_path: Path) -> None:
    assert start("sys.modules['spy_bench'] = None", tmp_path) == "[]"


def test_names_are_prefixed_alike_in_a_clone_and_installed() -> None:
    from inspect_ai._util.registry import registry_lookup

    for name in ("spy_bench", "spy_bench_mini", "spy_bench_lab"):
        assert registry_lookup("task", f"spy_bench/{name}") is not None
    assert (ROOT / "spy_bench.py").is_file()


@pytest.mark.parametrize("quick", [True, False])
def test_the_doctor_scores_one_sample_through_it(quick: bool) -> None:
    assert check_host("inspect", quick=quick) == ""
