"""`spy-bench plugin`: an opt-in file that is reversible and leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spy_plugin.cli.main import main
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.pth_file import PthFile

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
    line = PthFile(tmp_path)
    line.path.write_text("# an older version\n")
    assert line.enable()
    assert not line.enable()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match="not a folder"):
        PthFile(tmp_path / "none").enable()


_STARTED = "import vlmeval, sys; print('started', len(sys.meta_path))"


def _write_package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code + "\n")


def test_neither_python_nor_the_host_minds_a_broken_package(tmp_path: Path) -> None:
    _write_package(tmp_path, "vlmeval", "")
    _write_package(tmp_path, "spy_plugin", "raise RuntimeError('broken')")
    plain = _python(tmp_path, _STARTED).stdout
    assert plain.startswith("started")
    PthFile(tmp_path).enable()
    reason, *rest = _python(tmp_path, _STARTED).stdout.splitlines(keepends=True)
    assert reason == "spy-bench: not added to VLMEvalKit: RuntimeError('broken')\n"
    assert "".join(rest) == plain


def test_the_line_does_nothing_after_the_package_was_removed(tmp_path: Path) -> None:
    _write_package(tmp_path, "vlmeval", "")
    _write_package(
        tmp_path,
        "spy_plugin",
        "raise ModuleNotFoundError(\"No module named 'spy_plugin'\", name='spy_plugin')",
    )
    plain = _python(tmp_path, _STARTED).stdout
    PthFile(tmp_path).enable()
    assert _python(tmp_path, _STARTED).stdout == plain


def test_the_line_loads_nothing_before_the_host_is_imported(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").write_text("\n")  # reading any such file loads a module or two
    code = "import sys; print(sorted(sys.modules))"
    plain = _python(tmp_path, code).stdout
    PthFile(tmp_path).enable()
    assert _python(tmp_path, code).stdout == plain


@pytest.mark.parametrize("enabled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_untouched_host_sees_us_only_if_asked(tmp_path: Path, enabled: bool) -> None:
    pytest.importorskip("xlsxwriter")
    if enabled:
        PthFile(tmp_path).enable()
    done = _python(tmp_path, _HOST)
    assert done.returncode == 0, done.stdout
    assert f"data {enabled}" in done.stdout
    assert f"model {enabled}" in done.stdout
