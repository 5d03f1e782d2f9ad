"""The wheel is complete and installs into an empty environment, where the core works."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from .conftest import GOLDEN, ROOT


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser


def makefile_extras() -> list[str]:
    """The extras that `make setup` installs."""
    text = (ROOT / "Makefile").read_text()
    return re.findall(r"^EXTRAS := (.*)$", text, re.MULTILINE)[0].split(",")


def packages_on_disk() -> set[str]:
    found = {"spy_plugin.registry_data"}
    for top in ("spy_plugin", "trl_ext"):
        for path in (ROOT / top).rglob("__init__.py"):
            found.add(".".join(path.parent.relative_to(ROOT).parts))
    return found


def test_every_package_is_listed() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    assert set(listed) == packages_on_disk()


def test_every_requirement_is_pinned_for_the_tests() -> None:
    """Applies to the extras of `make setup`; the others need hardware."""
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = setup_cfg()["options.extras_require"]
    lines = setup_cfg()["options"]["install_requires"].split("\n")
    for extra in (*makefile_extras(), "report"):
        lines += extras[extra].split("\n")
    names = {
        line.split(";")[0].split(">")[0].split("=")[0].strip().lower().replace("_", "-")
        for line in lines
        if line.strip() and not line.startswith("%")
    }
    assert names <= pinned


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    # Build from a copy: a build leaves files behind that a later build would include.
    for name in ("spy_plugin", "trl_ext", "registry"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_code_and_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for top in ("spy_plugin", "trl_ext"):
        for path in (ROOT / top).rglob("*"):
            relative = path.relative_to(ROOT)
            if path.is_file() and "__pycache__" not in relative.parts:
                assert relative.as_posix() in names
    for path in (ROOT / "registry").glob("*.yaml"):
        assert f"spy_plugin/registry_data/{path.name}" in names
    assert not any(name.startswith(("tests/", "registry/", "benchmarks/")) for name in names)


def test_a_fresh_environment_runs_the_core(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_folder = tmp_path / "venv" / "bin"
    install = [bin_folder / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True, capture_output=True)
    packages = subprocess.run(
        [bin_folder / "pip", "list", "--format=json"], check=True, capture_output=True
    )
    installed = {entry["name"].lower() for entry in json.loads(packages.stdout)}
    assert not installed & {"torch", "transformers", "ms-vlmeval", "lmms-eval", "pandas"}
    command = [bin_folder / "spy-bench", "score", GOLDEN / "judged_mixed.jsonl.gz", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    expected = json.loads((GOLDEN / "metrics_expected.json").read_text())["mixed"]
    assert json.loads(done.stdout) == expected
    samples = [bin_folder / "spy-bench", "samples", "--mini"]
    done = subprocess.run(samples, check=True, capture_output=True, cwd=tmp_path)
    assert len(done.stdout.splitlines()) >= 600
