"""`doctor` reports problems and the commands that fix them, and never prints a key."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from spy_plugin.cli import diagnosis as doctor
from spy_plugin.cli.diagnosis import Problem, examine, parts
from spy_plugin.cli.main import main
from spy_plugin.registry import catalog as registry
from spy_plugin.registry import packages
from spy_plugin.registry.packages import requirements
from tests.conftest import ROOT

REAL_PROBE, REAL_GPUS = doctor._probe, doctor._gpus
SECRET = "sk-not-to-be-told-4711"


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Stub the answers of each host, without starting one, in an empty home."""
    answers = dict.fromkeys(("vlmeval", "lmms", "train"), "seen")
    monkeypatch.setattr(doctor, "_probe", answers.__getitem__)
    monkeypatch.setattr(doctor, "_gpus", list)
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path / "home"))
    for name in ("JUDGE_API_KEY", "JUDGE_BASE_URL", "OPENAI_API_KEY", "SPY_BENCH_PLUGIN"):
        monkeypatch.delenv(name, raising=False)
    return answers


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The installed versions, all as tested; a test may change them."""
    found = {name: tested[0] for name, tested in registry.tested_versions().items() if tested}

    def version(name: str) -> str:
        try:
            return found[re.sub(r"[-_.]+", "-", name).lower()]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(packages.metadata, "version", version)
    return found


def test_the_proven_versions_are_those_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): text for name, text in pinned.items()}
    for name, tested in registry.tested_versions().items():
        if name != "vllm":  # it has its own environment
            assert tested == (pinned[name],), name


def test_every_extra_of_the_metadata_is_looked_at() -> None:
    extras = set(metadata.metadata("spy-bench").get_all("Provides-Extra") or ())
    assert extras <= set(parts())
    assert {"core", "data", "tune", "judge"} <= set(parts())
    core = {package.name for package in requirements()["core"]}
    assert {"numpy", "openai", "pydantic"} <= core


def test_a_whole_installation_has_no_problems(versions: dict[str, str]) -> None:
    findings = examine()
    assert findings.problems == []
    assert findings.hooks["lmms"] == findings.hooks["train"] == "seen"
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


def test_old_and_untested_versions_are_told_apart(versions: dict[str, str]) -> None:
    versions |= {"trl": "1.9.3", "transformers": "99.0"}
    findings = examine()
    states = {package.name: package.state for package in findings.extras["train"]}
    assert (states["trl"], states["transformers"], states["peft"]) == (
        "too old",
        "untested",
        "tested",
    )
    assert findings.problems == [
        Problem("train", "trl 1.9.3 is older than >=1.10", "pip install -U 'trl>=1.10'")
    ]


def test_an_upstream_clone_counts_as_the_host(versions: dict[str, str]) -> None:
    versions["vlmeval"] = versions.pop("ms-vlmeval")
    package = examine().extras["vlmeval"][0]
    assert (package.name, package.state) == ("ms-vlmeval", "tested")


def test_a_cpu_torch_beside_a_gpu_is_said(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_gpus", lambda: ["NVIDIA H100, 81559 MiB, 570.1"])
    versions["torch"] = "2.13.0+cpu"
    assert examine(["train"]).problems == [
        Problem(
            "train",
            "torch 2.13.0+cpu is a CPU build, and there is a GPU",
            "pip install --force-reinstall torch==2.13.0",
        )
    ]


def test_a_host_that_does_not_see_us_is_a_problem(
    versions: dict[str, str],
    quick_probes: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    quick_probes["lmms"] = "ImportError: no such thing"
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "lmms: ImportError: no such thing" in shown
    assert "mend: pip install --force-reinstall 'spy-bench[lmms]'" in shown
    assert main(["doctor", "--for", "lmms"]) == 1
    assert main(["doctor", "--for", "vlmeval,train"]) == 0


def test_only_what_is_asked_for_is_started(
    versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(doctor, "_probe", lambda extra: started.append(extra) or "seen")
    hooks = examine(["train", "judge"]).hooks
    assert started == ["train"]
    assert hooks == {"vlmeval": "not asked", "lmms": "not asked", "train": "seen"}


def test_the_off_switch_is_named(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPY_BENCH_PLUGIN", "off")
    assert {problem.mend for problem in examine().problems} == {"unset SPY_BENCH_PLUGIN"}


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
    assert "mend: spy-bench data prepare\n" in shown
    assert "mend: spy-bench data prepare --tune train_data.json" in shown
    record = doctor.folder_of("official") / "prepared.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    findings = examine()
    assert findings.data["data"] == "broken"
    assert findings.problems[0].mend == "spy-bench data prepare --force"
    assert findings.cache["bytes"] == 1
    assert main(["doctor"]) == 0
    assert "cache: 0.0 GB in " in capsys.readouterr().out


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--for", "vlmevalkit"]) == 1
    assert "unknown part 'vlmevalkit'. Use some of: core, " in capsys.readouterr().err


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SUPPORTED_PYTHON", ((3, 90), (3, 99)))
    assert "is not supported" in doctor._python_problems()[0].problem


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


@pytest.mark.parametrize(
    "extra",
    ["lmms", *(pytest.param(name, marks=pytest.mark.slow) for name in ("vlmeval", "train"))],
)
def test_the_real_hosts_see_us(extra: str) -> None:
    if not packages.installed(extra, requirements()[extra]):
        pytest.skip(f"{extra} is not installed")
    assert REAL_PROBE(extra) == "seen"


def test_a_host_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor._PROBES, "lmms", "import no_such_host\n")
    assert REAL_PROBE("lmms") == "ModuleNotFoundError: No module named 'no_such_host'"
    monkeypatch.setitem(doctor._PROBES, "lmms", "seen = False\n")
    assert REAL_PROBE("lmms") == "the hook is not seen"
