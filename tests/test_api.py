"""The public API is what docs/api.md lists, costs nothing to import, and its examples run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spy_plugin
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "api.md"
SOURCE = Path(spy_plugin.__file__)


def names_for_type_checkers() -> set[str]:
    (block,) = [
        node
        for node in ast.parse(SOURCE.read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    ]
    return {
        alias.asname or alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_page_lists_exactly_the_public_names() -> None:
    documented = re.findall(r"^::: spy_plugin\.(\S+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(set(documented)) == len(documented)
    assert set(documented) == set(spy_plugin.__all__)
    assert names_for_type_checkers() == set(spy_plugin.__all__)


@pytest.mark.parametrize("name", spy_plugin.__all__)
def test_every_public_name_is_found_and_explains_itself(name: str) -> None:
    value = getattr(spy_plugin, name)
    assert name in dir(spy_plugin)
    if callable(value):
        assert value.__doc__


def test_other_names_are_not_found() -> None:
    with pytest.raises(AttributeError, match="module 'spy_plugin' has no attribute 'metrics_of'"):
        spy_plugin.metrics_of  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.usefixtures("unmeasured")
def test_importing_the_package_imports_nothing_else() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import spy_plugin; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # A `.pth` file of the environment may have imported __future__ before.
    assert set(ast.literal_eval(done.stdout)) <= {"__future__", "spy_plugin"}


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102
    out = capsys.readouterr().out
    assert out.startswith("860 00000000/distractors/private\n")
    assert "{'respond': 0, 'reject': 860, 'unjudged': 0, 'filtered': 0, 'failed': 0}" in out
    assert "['silent']" in out
    assert "missing.jsonl: cannot be read (No such file or directory). Check the path." in out
    assert {path.name for path in (tmp_path / "report").iterdir()} >= {"report.html", "report.json"}
