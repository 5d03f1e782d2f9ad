"""`spy-bench plugin` is opt-in and fully reversible."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spy_plugin.cli.main import main
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.site_line import SiteLine

_HOST = """
from spy_plugin.compat.torchvision import declare_missing_ops
declare_missing_ops()
import vlmeval.dataset
from vlmeval.config import supported_VLM
print("data", "SPYBench_MINI" in vlmeval.dataset.SUPPORTED_DATASETS)
print("model", "spy-oracle" in supported_VLM)
"""


def _python(folder: Path, code: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `folder` as a site folder, whose `.pth` files it reads at startup."""
    (folder / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(folder)!r})\n")
    return subprocess.run(
        [sys.executable, *more, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "HOME": str(folder), "PATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_enabling_and_disabling_leave_the_folder_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action, state in (
        ("status", "disabled"),
        ("enable", "enabled"),
        ("enable", "enabled"),
        ("status", "enabled"),
        ("disable", "disabled"),
        ("disable", "disabled"),
    ):
        assert main(["plugin", action, "--folder", str(tmp_path)]) == 0
        assert f"run.py: {state}" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_old_line_is_brought_up_to_date(tmp_path: Path) -> None:
    line = SiteLine(tmp_path)
    line.path.write_text("# an older version\n")
    assert line.enable()
    assert not line.enable()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match="no folder"):
        SiteLine(tmp_path / "none").enable()


def test_neither_python_nor_the_host_minds_a_broken_package(tmp_path: Path) -> None:
    SiteLine(tmp_path).enable()
    for name, code in (("spy_plugin", "raise RuntimeError('broken')"), ("vlmeval", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code + "\n")
    done = _python(tmp_path, "import vlmeval, sys; print('started', len(sys.meta_path))")
    SiteLine(tmp_path).disable()
    assert (
        done.stdout
        == _python(tmp_path, "import vlmeval, sys; print('started', len(sys.meta_path))").stdout
    )
    assert done.stdout.startswith("started")


def test_the_line_loads_nothing_before_the_host_is_imported(tmp_path: Path) -> None:
    code = "import sys; print(sorted(sys.modules))"
    plain = _python(tmp_path, code).stdout
    SiteLine(tmp_path).enable()
    assert _python(tmp_path, code).stdout == plain


@pytest.mark.parametrize("enabled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_untouched_host_sees_us_only_if_asked(tmp_path: Path, enabled: bool) -> None:
    pytest.importorskip("xlsxwriter")
    if enabled:
        SiteLine(tmp_path).enable()
    done = _python(tmp_path, _HOST)
    assert done.returncode == 0, done.stdout
    assert f"data {enabled}" in done.stdout
    assert f"model {enabled}" in done.stdout
