"""A trained model is scored by one command, and its card then holds the scores."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from huggingface_hub import EvalResult, ModelCard

from spy_plugin.errors import SpyBenchError
from tests.report.made_up import expected_of, verdicts, write_run
from tests.trl_ext.script_runs import prepare, train, words
from trl_ext.scripts import _scoring


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepare(tmp_path_factory.mktemp("scoring"))


def write_scores(folder: Path) -> None:
    """Write the results of a model that always does what its user wants."""
    write_run(folder, "tuned", [replace(each, outcome=expected_of(each)) for each in verdicts()])


@pytest.mark.parametrize("save_strategy", ["no", "steps"])
def test_the_scores_of_evaluate_are_in_the_card(
    prepared: Any, tmp_path: Path, monkeypatch: Any, save_strategy: str
) -> None:
    commands: list[list[str]] = []
    environments: list[dict[str, str]] = []
    out = tmp_path / "tuned"

    def run(command: list[str], env: dict[str, str], check: bool) -> Any:
        commands.append(command)
        environments.append(env)
        write_scores(out / "scores")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(_scoring.subprocess, "run", run)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MMEVAL_ROOT", str(tmp_path))
    options = {"max_steps": 1, "evaluate": "true", "save_strategy": save_strategy}
    train("nca_priv", words(prepared, output_dir=out, **options))
    [command] = commands
    assert command[3:] == [
        "run", "vlmeval", "--data", "SPYBench_MINI", "--model", f"hf:{out}",
        "--work-dir", f"{out}/scores",
    ]  # fmt: skip
    assert not {"RANK", "MMEVAL_ROOT"} & set(environments[0])
    card = ModelCard.load(out / "README.md")
    assert "NCA-P" in card.content
    assert card.data.model_name == "tuned"
    found = {each.metric_type: each for each in card.data.eval_results}
    assert {name: each.metric_value for name, each in found.items()} == {
        "privacy_score": 100.0, "ics": 100.0, "hms": 100.0
    }  # fmt: skip
    low, high = found["ics"].metric_args["interval_95"]
    assert 90 < low < high == 100
    assert found["ics"].metric_args["judge"] == "rules"
    assert found["ics"].dataset_name == "SPY-Bench (made-up, distractors)"


def test_scores_replace_earlier_ones_and_leave_those_of_others(tmp_path: Path) -> None:
    other = EvalResult("image-text-to-text", "other/data", "Other", "accuracy", 12.5)
    card = ModelCard("---\nlicense: mit\n---\n\n# Mine\n")
    card.data.model_name, card.data.eval_results = "mine", [other]
    card.save(tmp_path / "README.md")
    write_scores(tmp_path / "scores")
    for _ in range(2):
        _scoring.add_scores(tmp_path, tmp_path / "scores")
    card = ModelCard.load(tmp_path / "README.md")
    assert [each.metric_type for each in card.data.eval_results] == [
        "accuracy", "privacy_score", "ics", "hms"
    ]  # fmt: skip
    assert (card.data.license, card.data.model_name) == ("mit", "mine")


def test_a_scoring_that_fails_says_how_to_run_it_again(
    prepared: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    failed = subprocess.CompletedProcess([], 3)
    monkeypatch.setattr(_scoring.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SpyBenchError, match=r"exit code 3.*spy-bench run vlmeval --data"):
        train("sft", words(prepared, output_dir=tmp_path, max_steps=1, evaluate="true"))
