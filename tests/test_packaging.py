"""The wheel holds everything and nothing old, is typed, and its core works when it is alone."""

from __future__ import annotations

import configparser
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spy_plugin.registry.catalog import tested_versions

from .conftest import GOLDEN, ROOT, needs

STALE = "spy_plugin/judges.py"
"""A module of an older tree, of which `build/` still has a copy."""


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def makefile_extras() -> list[str]:
    """Return the extras that `make setup` installs."""
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
    """Except those of the extras that need hardware: `make setup` leaves them out."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(Requirement(x).name) for x in lines if not x.startswith("#")}
    config = setup_cfg()
    wanted = config["options"]["install_requires"].splitlines()
    for extra in makefile_extras():
        wanted += config["options.extras_require"][extra].splitlines()
    names = {canonicalize_name(Requirement(line).name) for line in wanted if line}
    assert names <= pinned
    # `spy-bench doctor` tells these versions from others.
    assert names <= {canonicalize_name(name) for name in tested_versions()}


def test_every_upper_bound_says_why() -> None:
    """And when it may go, in the comment above it."""
    lines = (ROOT / "setup.cfg").read_text().splitlines()
    start, end = lines.index("[options.extras_require]"), lines.index("[mypy]")
    bounds = [number for number in range(start, end) if re.match(r" +[\w-]+.*<", lines[number])]
    assert bounds
    for number in bounds:
        comment = []
        while lines[number - 1].lstrip().startswith("#"):
            number -= 1
            comment.append(lines[number])
        assert re.search(r"[Mm]ay go when", " ".join(comment)), lines[number]


def source_copy(folder: Path) -> Path:
    """Copy what a build reads into a folder, with an old `build/` in it."""
    for name in ("spy_plugin", "trl_ext", "registry"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE", "spy_bench.py"):
        shutil.copy(ROOT / name, folder)
    stale = folder / "build" / "lib" / STALE
    stale.parent.mkdir(parents=True)
    stale.write_text("OLD = True\n")
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("build.__main__")  # the folder build/ is not it
    source, out = (tmp_path_factory.mktemp(name) for name in ("source", "wheel"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*build, str(source_copy(source))], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_code_and_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "spy_bench.py" in names
    for top in ("spy_plugin", "trl_ext"):
        assert f"{top}/py.typed" in names
        for path in (ROOT / top).rglob("*"):
            relative = path.relative_to(ROOT)
            if path.is_file() and "__pycache__" not in relative.parts:
                assert relative.as_posix() in names
    for path in (ROOT / "registry").glob("*.yaml"):
        assert f"spy_plugin/registry_data/{path.name}" in names
    assert not any(name.startswith(("tests/", "registry/", "benchmarks/")) for name in names)


def test_the_wheel_holds_nothing_of_an_earlier_build(wheel: Path) -> None:
    assert STALE not in zipfile.ZipFile(wheel).namelist()


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
    for field in ("Summary", "Author", "License", "Keywords", "Project-URL", "Requires-Python"):
        assert re.search(rf"^{field}: .+", metadata, re.MULTILINE), field
    classified = re.findall(r"^Classifier: .* :: Python :: 3\.(\d+)$", metadata, re.MULTILINE)
    others = re.findall(r"py3(\d+)", setup_cfg()["tox:tox"]["env_list"])
    assert sorted(classified) == sorted([*others, "11"])


def test_the_source_distribution_holds_every_file_of_the_repository(tmp_path: Path) -> None:
    pytest.importorskip("build.__main__")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    tracked = {name for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    if listed.returncode or not tracked:
        pytest.skip("this is not a clone")
    source = tmp_path / "source"
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert tracked <= names
    made = {"PKG-INFO", "setup.cfg"}
    assert not {n for n in names - tracked - made if not n.startswith("spy_bench.egg-info/")}


def environment(folder: Path, *, pip: bool = False) -> Path:
    """Create an empty environment; return its interpreter."""
    venv.create(folder, with_pip=pip)
    return folder / "bin" / "python"


def site_packages(python: Path) -> Path:
    return next((python.parent.parent / "lib").glob("python*/site-packages"))


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command away from this repository; return what it printed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_fresh_environment_runs_the_core(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", pip=True)
    pip, command = python.with_name("pip"), python.with_name("spy-bench")
    run([pip, "install", "--quiet", "-c", ROOT / "constraints.txt", wheel], tmp_path)
    packages = json.loads(run([pip, "list", "--format=json"], tmp_path))
    installed = {entry["name"].lower() for entry in packages}
    assert not installed & {"torch", "transformers", "ms-vlmeval", "lmms-eval", "pandas"}

    verdicts = GOLDEN / "judged_mixed.jsonl.gz"
    expected = json.loads((GOLDEN / "metrics_expected.json").read_text())["mixed"]
    assert json.loads(run([command, "score", verdicts, "--json"], tmp_path)) == expected
    assert len(run([command, "samples", "--mini"], tmp_path).splitlines()) >= 600
    assert "no problems" in run([command, "doctor"], tmp_path)
    assert "pixtral-12b" in run([command, "models"], tmp_path).lower()
    (tmp_path / "model.jsonl").write_bytes(gzip.decompress(verdicts.read_bytes()))
    run([command, "report", "model.jsonl", "--out", "report"], tmp_path)
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000


@needs("setuptools")
def test_an_editable_install_shows_nothing_of_an_earlier_build(tmp_path: Path) -> None:
    source = source_copy(tmp_path / "source")
    build = "import sys; from setuptools.build_meta import build_editable as b; b(sys.argv[1])"
    run([sys.executable, "-c", build, tmp_path], source)
    python = environment(tmp_path / "venv")
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(site_packages(python))
    code = (
        "import importlib.util as u, pathlib, spy_plugin\n"
        "print(pathlib.Path(spy_plugin.__file__).parent.parent)\n"
        "print(u.find_spec('spy_plugin.judges'), bool(u.find_spec('spy_plugin.registry_data')))"
    )
    assert run([python, "-c", code], tmp_path).split() == [str(source), "None", "True"]


FOREIGN = """\
from spy_plugin.benchmark.records import Verdict
from spy_plugin.scoring.metrics import privacy_score
from trl_ext.configs import find

reveal_type(Verdict.sample_id)
reveal_type(privacy_score)
reveal_type(find)
privacy_score("not a figure", None)
"""


@needs("mypy")
def test_a_type_checker_reads_our_types_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "venv")
    zipfile.ZipFile(wheel).extractall(site_packages(python))
    (tmp_path / "foreign.py").write_text(FOREIGN)
    mypy = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--no-incremental"]
    done = subprocess.run(
        [*mypy, "--follow-imports=silent", "foreign.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == 3, done.stdout + done.stderr
    assert not any("Any" in text for text in revealed), revealed
    assert "import-untyped" not in done.stdout
    assert 'foreign.py:8: error: Argument 1 to "privacy_score"' in done.stdout
