"""Where only the core is installed, a command that needs more ends in the pip line."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from spy_plugin.cli.main import main

EXTRAS = ("torch", "transformers", "trl", "vllm", "vlmeval", "lmms_eval", "pyarrow", "ray")


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which no extra can be found or imported."""
    find_spec = importlib.util.find_spec

    def find_in_core(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name.split(".")[0] in EXTRAS else find_spec(name, package)

    for module in ("cli.lab", "cli.plugin", "data.export", "hosts.lmms.run", "hosts.vlmeval.run"):
        monkeypatch.setattr(f"spy_plugin.{module}.find_spec", find_in_core)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("lab", "train"),
        ("run vlmeval -- --data SPYBench_MINI --model spy-literal", "vlmeval"),
        ("run lmms-eval -- --tasks spy_bench_mini --model spy_policy", "lmms"),
        ("data export --benchmark mini --format parquet --out x", "train"),
        ("data export --benchmark mini --format hf-dataset --out x", "train"),
    ],
)
def test_the_missing_extra_is_named_and_nothing_is_written(
    command: str, extra: str, core: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "is not installed. Install it with: " in error
    assert f"pip install 'spy-bench[{extra}]'" in error
    assert list(core.iterdir()) == []


def test_the_switch_for_vlmevalkit_says_that_there_is_none(
    core: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugin", "status"]) == 0
    assert "VLMEvalKit is not installed here" in capsys.readouterr().out


@pytest.mark.parametrize("policy", ["spy-literal", "spy-oracle"])
def test_a_first_result_needs_the_core_alone(
    policy: str, core: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = f"outputs/{policy}_SPYBench_MINI_answers.jsonl"
    generate = f"generate --backend policy --model {policy} --benchmark mini"
    commands = (generate, f"judge {answers}", f"score {answers.replace('answers', 'verdicts')}")
    for command in commands:
        assert main(command.split()) == 0
    privacy = {"spy-literal": "54.60", "spy-oracle": "100.00"}[policy]
    last = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("privacy score"))
    assert last.split()[2] == privacy
