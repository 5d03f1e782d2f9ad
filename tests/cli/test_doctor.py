"""The doctor names what is wrong and the command that fixes it, and never shows a key."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spy_plugin.cli import diagnosis
from spy_plugin.cli.diagnosis import Problem, examine, parts
from spy_plugin.cli.main import main
from spy_plugin.registry import catalog as registry
from spy_plugin.registry import packages
from spy_plugin.registry.packages import requirements
from tests.conftest import ROOT
from tests.official_scripts import write_release

REAL_GPUS = diagnosis._gpus
SECRET = "sk-not-to-be-told-4711"

HAS_INSPECT = sys.version_info >= (3, 11)
"""The extra `inspect` is empty on Python 3.10, which inspect_ai no longer takes."""


class Checks:
    """Stands in for `check_host`: nothing is started.

    Attributes:
        failures: Extra -> what goes wrong with it.
        asked: (extra, quick) of each call.
    """

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, extra: str, *, quick: bool) -> str:
        self.asked.append((extra, quick))
        return self.failures.get(extra, "")


@pytest.fixture(autouse=True)
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Checks:
    """Hosts that all work, no GPU, no keys, and an empty home."""
    checks = Checks()
    monkeypatch.setattr(diagnosis, "check_host", checks)
    monkeypatch.setattr(diagnosis, "_gpus", list)
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    for name in ("JUDGE_API_KEY", "JUDGE_BASE_URL", "OPENAI_API_KEY", "SPY_BENCH_PLUGIN"):
        monkeypatch.delenv(name, raising=False)
    return checks


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Installed versions, which a test may change: everything as the tests run with it."""
    found = {name: tested[0] for name, tested in registry.tested_versions().items() if tested}

    def version(name: str) -> str:
        try:
            return found[canonicalize_name(name)]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(packages.metadata, "version", version)
    return found


_CONSTRAINTS = ("constraints-inspect.txt", "constraints.txt")
"""If both pin a package, the later file counts: that of the larger environment."""


def test_the_tested_versions_are_those_of_the_constraints() -> None:
    texts = "".join((ROOT / name).read_text(encoding="utf-8") for name in _CONSTRAINTS)
    lines = texts.splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    environment = {"python_version": "3.11", "python_full_version": "3.11.7"}
    pinned = {
        canonicalize_name(pin.name): str(pin.specifier)
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }
    for name, tested in registry.tested_versions().items():
        if name != "vllm":  # it has its own environment
            assert [f"=={version}" for version in tested] == [pinned[name]], name


def test_every_extra_of_the_metadata_is_looked_at() -> None:
    extras = set(metadata.metadata("spy-bench").get_all("Provides-Extra") or ())
    assert extras <= set(parts())
    assert {"core", "data", "tune", "judge"} <= set(parts())
    core = {package.name for package in requirements()["core"]}
    assert {"numpy", "openai", "pydantic"} <= core


def test_a_whole_installation_has_no_problems(versions: dict[str, str]) -> None:
    findings = examine()
    assert findings.problems == []
    assert findings.hosts == {
        "vlmeval": "scored one sample",
        "lmms": "scored one sample",
        "inspect": "scored one sample" if HAS_INSPECT else "not installed",
        "train": "imported",
    }
    quick = set(examine(quick=True).hosts.values())
    assert quick == ({"imported"} if HAS_INSPECT else {"imported", "not installed"})
    assert all(package.state == "tested" for package in findings.extras["vlmeval"])


def test_an_extra_that_is_missing_is_a_problem_only_when_asked_for(
    versions: dict[str, str],
) -> None:
    for name in ("trl", "peft"):
        del versions[name]
    assert examine().problems == []
    assert examine(["train"]).problems == [
        Problem("train", "trl, peft not installed", "pip install 'spy-bench[train]'")
    ]


def test_a_host_that_lacks_one_of_its_packages_is_a_problem_unasked(
    versions: dict[str, str],
) -> None:
    del versions["xlsxwriter"]
    assert examine().problems == [
        Problem("vlmeval", "xlsxwriter not installed", "pip install 'spy-bench[vlmeval]'")
    ]


@pytest.mark.parametrize(
    ("extra", "installed", "wanted"),
    [("train", "trl 1.9.3", ">=1.10"), ("lmms", "filelock 4.3.1", "<4.3")],
)
def test_versions_outside_our_bounds_are_a_problem(
    versions: dict[str, str], extra: str, installed: str, wanted: str
) -> None:
    name, versions[name] = installed.split()
    findings = examine()
    states = {package.name: package.state for package in findings.extras[extra]}
    assert states.pop(name) == "unsupported"
    assert set(states.values()) == {"tested"}
    problem = f"{installed} does not satisfy {wanted}"
    assert findings.problems == [Problem(extra, problem, f"pip install '{name}{wanted}'")]


@pytest.mark.parametrize("version", ["99.0", "2026-nightly build"])
def test_a_version_that_nobody_tested_is_marked_and_no_problem(
    versions: dict[str, str], version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    versions["transformers"] = version
    assert main(["doctor", "--for", "train"]) == 0
    assert f"transformers {version} (untested)" in capsys.readouterr().out


def test_a_core_install_says_so_and_lists_no_other_package(
    versions: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    core = {canonicalize_name(package.name) for package in requirements()[packages.CORE]}
    for name in set(versions) - core:
        del versions[name]
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "core only: no extra is installed" in said
    assert "not installed: report, hub, vlmeval, lmms, inspect, " in said
    assert "no problems" in said
    for name in ("hypothesis", "mkdocs-material", "ruff", "xlsxwriter", "(missing)"):
        assert name not in said


def test_what_another_extra_needs_too_does_not_make_an_extra_installed(
    versions: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    del versions["ms-vlmeval"]
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "not installed: vlmeval" in said
    assert "core only" not in said
    assert "xlsxwriter" not in said


def test_a_folder_that_is_not_installed_is_one_error(
    versions: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_metadata(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "metadata", no_metadata)
    assert main(["doctor"]) == 1
    assert "spy-bench is not installed" in capsys.readouterr().err


def test_an_upstream_clone_counts_as_the_host(versions: dict[str, str]) -> None:
    versions["vlmeval"] = versions.pop("ms-vlmeval")
    package = examine().extras["vlmeval"][0]
    assert (package.name, package.state) == ("ms-vlmeval", "tested")


def test_a_cpu_torch_beside_a_gpu_is_said(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_gpus", lambda: ["NVIDIA H100, 81559 MiB, 570.1"])
    versions["torch"] = "2.13.0+cpu"
    assert examine(["train"]).problems == [
        Problem(
            "train",
            "torch 2.13.0+cpu is a CPU build, and there is a GPU",
            "pip install --force-reinstall torch==2.13.0",
        )
    ]


def test_a_host_that_fails_is_a_problem(
    versions: dict[str, str], checks: Checks, capsys: pytest.CaptureFixture[str]
) -> None:
    checks.failures["lmms"] = "ImportError: no such thing"
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "lmms: fails: ImportError: no such thing\n" in shown
    assert "fix: pip install --force-reinstall 'spy-bench[lmms]'" in shown
    assert main(["doctor", "--for", "lmms"]) == 1
    assert main(["doctor", "--for", "vlmeval,train"]) == 0


def test_a_torchvision_that_does_not_fit_torch_has_a_fix_of_its_own(
    versions: dict[str, str], checks: Checks
) -> None:
    checks.failures["lmms"] = "RuntimeError: operator torchvision::nms does not exist"
    assert [problem.fix for problem in examine().problems] == [
        "python -m spy_plugin.compat.torchvision"
    ]


def test_only_what_is_asked_for_is_started(versions: dict[str, str], checks: Checks) -> None:
    hosts = examine(["train", "judge"]).hosts
    assert checks.asked == [("train", False)]
    assert hosts == {
        "vlmeval": "not checked",
        "lmms": "not checked",
        "inspect": "not checked" if HAS_INSPECT else "not installed",
        "train": "imported",
    }


def test_a_quick_look_scores_nothing(versions: dict[str, str], checks: Checks) -> None:
    assert main(["doctor", "--quick"]) == 0
    hosts = ["vlmeval", "lmms", *["inspect"] * HAS_INSPECT, "train"]
    assert checks.asked == [(extra, True) for extra in hosts]


def test_the_off_switch_is_named(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPY_BENCH_PLUGIN", "off")
    assert {problem.fix for problem in examine().problems} == {"unset SPY_BENCH_PLUGIN"}


def test_keys_are_told_as_set_or_not_and_never_shown(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--for", "judge"]) == 1
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "JUDGE_BASE_URL"):
        monkeypatch.setenv(name, f"https://{SECRET}@example.org/")
    monkeypatch.delenv("JUDGE_BASE_URL")
    capsys.readouterr()
    for words in (["doctor"], ["doctor", "--json"]):
        main(words)
        shown = capsys.readouterr()
        assert SECRET not in shown.out + shown.err
    keys = json.loads(shown.out)["keys"]
    assert (keys["OPENAI_API_KEY"], keys["GOOGLE_API_KEY"], keys["JUDGE_API_KEY"]) == (
        True,
        True,
        False,
    )


def test_missing_and_broken_data_are_told(
    versions: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--for", "data,tune"]) == 1
    shown = capsys.readouterr().out
    assert "fix: spy-bench data prepare\n" in shown
    assert "fix: spy-bench data prepare --tune train_data.json" in shown
    record = diagnosis.folder_of("official") / "prepared.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    findings = examine()
    assert findings.data["data"] == "broken"
    assert findings.problems[0].fix == "spy-bench data prepare --force"
    assert findings.cache["bytes"] == 1
    assert main(["doctor"]) == 0
    assert "cache: 0.0 GB in " in capsys.readouterr().out


def test_a_release_that_the_environment_names_is_the_data(
    versions: dict[str, str],
    checks: Checks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_release(tmp_path / "release")
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(tmp_path / "release"))
    assert main(["doctor", "--for", "data"]) == 0
    assert f"data: SPY_BENCH_RELEASE is {tmp_path / 'release'}" in capsys.readouterr().out
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(tmp_path / "nothing"))
    assert main(["doctor", "--for", "data"]) == 1
    assert "fix: unset SPY_BENCH_RELEASE, or set it to the root" in capsys.readouterr().out


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--for", "vlmevalkit"]) == 1
    assert "unknown part 'vlmevalkit'. Use some of: core, " in capsys.readouterr().err


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "SUPPORTED_PYTHON", ((3, 90), (3, 99)))
    assert "is not supported" in diagnosis._python_problems()[0].problem


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts an `nvidia-smi` with the given shell lines on the path."""

    def write(lines: str) -> None:
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\n{lines}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tool.parent}:/bin:/usr/bin")

    return write


def test_gpus_are_those_of_the_drivers_own_tool(
    fake_tool: Callable[[str], None],
) -> None:
    fake_tool("echo 'NVIDIA H200, 143771 MiB, 570.1'")
    assert REAL_GPUS() == ["NVIDIA H200, 143771 MiB, 570.1"]


def test_a_broken_driver_is_no_gpu(
    fake_tool: Callable[[str], None],
) -> None:
    fake_tool("echo failed; exit 9")
    assert REAL_GPUS() == []
