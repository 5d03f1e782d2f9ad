"""The built wheel in an environment of its own: what a user of a plain install has."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.lmms.harness import REPOSITORY, Harness

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this repository, without anything built or installed."""
    folder = tmp_path_factory.mktemp("clone") / "spy-bench"
    ignored = (".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "outputs")
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(*ignored))
    return folder


@pytest.fixture(scope="module")
def python(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with our wheel; other packages come from this one."""
    root = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(clone, root / "source")  # building leaves files there
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(root), str(source)]
    subprocess.run([*pip, *build], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")], check=True)
    python = root / "venv" / "bin" / "python"
    (wheel,) = root.glob("*.whl")
    install = ["--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True)
    (site,) = (root / "venv" / "lib").glob("python*/site-packages")
    # Paths only: `.pth` files over there, such as that of an editable install, are not read.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "others.pth").write_text("\n".join([*others, ""]))
    return python


def test_the_wheel_alone_brings_tasks_and_models(
    harness: Harness, python: Path, tmp_path: Path
) -> None:
    done = harness.start(
        *("-m", "lmms_eval", "--tasks", "spy_bench_mini_distractors", "--limit", "10"),
        *("--model", "spy_policy", "--model_args", "model=spy-oracle"),
        command=(str(python),),
        cwd=tmp_path,
    )
    assert done.code == 0, done.text
    assert done.table()["spy_bench_mini_distractors", "privacy_score"] == "100"
    where = harness.start(
        "-c", "import spy_plugin; print(spy_plugin.__file__)", command=(str(python),), cwd=tmp_path
    )
    assert str(python.parents[1]) in where.text


def test_the_switch_leaves_no_trace_in_the_environment(
    harness: Harness, python: Path, tmp_path: Path
) -> None:
    def files() -> set[Path]:
        return {p for p in python.parents[1].rglob("*") if "__pycache__" not in p.parts}

    def plugin(action: str) -> str:
        command = (str(python), "-m", "spy_plugin.cli", "plugin", action)
        done = harness.start(command=command, cwd=tmp_path)
        assert done.code == 0, done.text
        return done.text

    seen = (
        "import vlmeval.dataset as data, vlmeval.config\n"
        "print('SPYBench_MINI' in data.SUPPORTED_DATASETS)"
    )
    before = files()
    assert "run.py: enabled" in plugin("enable")
    assert len(files() - before) == 1
    assert "True" in harness.start("-c", seen, command=(str(python),), cwd=tmp_path).text
    assert "run.py: disabled" in plugin("disable")
    assert files() == before
    assert "False" in harness.start("-c", seen, command=(str(python),), cwd=tmp_path).text


@pytest.mark.parametrize("command", [("python", "run.py"), ("spy-bench", "run", "vlmeval", "--")])
def test_both_launchers_of_vlmevalkit_work_in_a_clone_beside_the_install(
    command: tuple[str, ...], harness: Harness, python: Path, clone: Path, tmp_path: Path
) -> None:
    """In a clone, Python finds its `spy_plugin` before the installed one."""
    program, *words = command
    done = harness.start(
        *(*words, "--data", "SPYBench_MINI", "--model", "spy-literal"),
        *("--work-dir", str(tmp_path)),
        command=(str(python.with_name(program)),),
        cwd=clone,
    )
    assert done.code == 0, done.text
    (row,) = [line for line in done.text.splitlines() if line.startswith("spy-literal")]
    assert row.split()[:3] == ["spy-literal", "SPYBench_MINI", "54.60"]
    where = harness.start(
        "-c", "import spy_plugin; print(spy_plugin.__file__)", command=(str(python),), cwd=clone
    )
    assert where.text.strip() == str(clone / "spy_plugin" / "__init__.py")
