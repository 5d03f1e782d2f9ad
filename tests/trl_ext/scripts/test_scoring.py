"""A trained model is scored by one command, and its card then holds the scores."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from huggingface_hub import EvalResult, ModelCard

from spy_plugin.benchmarks import OWN_VARIABLE, RELEASE_VARIABLE
from spy_plugin.cli.main import main
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.processes import end_family
from tests.report.made_up import expected_of, verdicts, write_run
from tests.trl_ext.script_runs import prepare, train, words
from trl_ext.scripts import _common, _scoring


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepare(tmp_path_factory.mktemp("scoring"))


class Process:
    """A scoring process: its command, its environment, and how waiting for it ends."""

    def __init__(self, wait: Callable[[], int]) -> None:
        self.wait = wait
        self.command: list[str] = []
        self.environment: dict[str, str] = {}

    def start(self, command: list[str], env: dict[str, str], start_new_session: bool) -> Process:
        assert start_new_session  # Ctrl-C in a terminal must not reach it
        self.command, self.environment = command, env
        return self


def write_scores(folder: Path) -> None:
    """Write the results of a model that always does what its user wants."""
    write_run(folder, "tuned", [replace(each, outcome=expected_of(each)) for each in verdicts()])


@pytest.mark.parametrize("save_strategy", ["no", "steps"])
def test_the_scores_of_evaluate_are_in_the_card(
    prepared: Any, tmp_path: Path, monkeypatch: Any, save_strategy: str
) -> None:
    out = tmp_path / "tuned"

    def wait() -> int:
        write_scores(out / "scores")
        return 0

    process = Process(wait)
    monkeypatch.setattr(_scoring.subprocess, "Popen", process.start)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("MMEVAL_ROOT", str(tmp_path))
    options = {"max_steps": 1, "evaluate": "true", "save_strategy": save_strategy}
    train("nca_priv", words(prepared, output_dir=out, **options))
    assert process.command[3:] == [
        "run", "vlmeval", "--data", "SPYBench_MINI", "--model", f"hf:{out}",
        "--work-dir", f"{out}/scores",
    ]  # fmt: skip
    assert not {"RANK", "MMEVAL_ROOT"} & set(process.environment)
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


def again(out: Path) -> str:
    """What is said of a scoring that has not ended."""
    return (
        f"The training has ended, and its model is in {out}. To score it, run: spy-bench run "
        f"vlmeval --data SPYBench_MINI --model hf:{out} --work-dir {out}/scores --reuse and then, "
        f"for its card: spy-bench export-results {out}/scores {out}"
    )


def test_a_scoring_that_fails_says_how_to_run_it_again(
    prepared: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(_scoring.subprocess, "Popen", Process(lambda: 3).start)
    with pytest.raises(SpyBenchError) as caught:
        train("sft", words(prepared, output_dir=tmp_path, max_steps=1, evaluate="true"))
    assert str(caught.value) == f"scoring ended with exit code 3. {again(tmp_path)}"


def test_a_stopped_scoring_says_how_to_score_and_nothing_of_training(
    prepared: Any, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[object] = []

    def stop() -> int:
        raise KeyboardInterrupt

    process = Process(stop)
    monkeypatch.setattr(_scoring.subprocess, "Popen", process.start)
    monkeypatch.setattr(_scoring, "end_family", ended.append)
    options = words(prepared, output_dir=tmp_path, max_steps=1, evaluate="true")
    assert main(["train", "sft", *options]) == 130
    assert ended == [process]
    said = capsys.readouterr().err
    assert said.endswith(f"\n{again(tmp_path)}\nspy-bench: interrupted\n")
    assert "resume" not in said


def test_the_scoring_below_a_launcher_is_told_from_training(tmp_path: Path) -> None:
    package = tmp_path / "spy_plugin" / "cli"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text("import time\ntime.sleep(60)\n")
    child = [sys.executable, "-m", "spy_plugin.cli", "run", "vlmeval", "--data", "SPYBench_MINI"]
    text = f"import subprocess, sys\nsys.stdin.read()\nsubprocess.run({child!r})\n"
    launcher = subprocess.Popen(
        [sys.executable, "-c", text], cwd=tmp_path, stdin=subprocess.PIPE, text=True
    )
    try:
        assert _scoring.scoring_of(launcher) is None
        assert launcher.stdin is not None
        launcher.stdin.close()
        until = time.monotonic() + 30
        while _scoring.scoring_of(launcher) is None and time.monotonic() < until:
            time.sleep(0.1)
        assert _scoring.scoring_of(launcher) == ["spy-bench", *child[3:]]
    finally:
        end_family(launcher)
    assert _scoring.scoring_of(launcher) is None


@pytest.mark.parametrize(
    ("data", "asked", "problem"),
    [
        ("FOO", False, "--evaluate_on FOO: SPY-Bench has no such data set. Use SPYBench, SPYBench"),
        ("MMMU", True, "--evaluate_on MMMU: SPY-Bench has no such data set. "),
        ("spy:none", False, "--evaluate_on spy:none: none holds no benchmark. Write one with: "),
        ("SPYBench", True, "--evaluate_on SPYBench: .* is not an official SPY-Bench release"),
        ("SPYBench_OWN", True, f"--evaluate_on SPYBench_OWN: .*{OWN_VARIABLE} does not name it"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    data: str, asked: bool, problem: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv(OWN_VARIABLE, raising=False)
    monkeypatch.setenv(RELEASE_VARIABLE, str(tmp_path))
    with pytest.raises(SpyBenchError, match=problem):
        _scoring.check_scoring(data, asked=asked)


def test_a_missing_host_is_refused_before_training(monkeypatch: Any) -> None:
    monkeypatch.delenv("VLMEVALKIT_DIR", raising=False)
    monkeypatch.setattr("spy_plugin.hosts.vlmeval.run.find_spec", lambda name: None)
    _scoring.check_scoring("SPYBench_MINI", asked=False)
    with pytest.raises(SpyBenchError, match="VLMEvalKit is not installed"):
        _scoring.check_scoring("SPYBench_MINI", asked=True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"evaluate_on": "FOO"}, "--evaluate_on FOO: SPY-Bench has no such data set. Use "),
        (
            {"score_benchmark": "mnii", "score_steps": 1},
            "--score_benchmark mnii: no benchmark is called 'mnii', and there is no such folder. "
            "Did you mean mini",
        ),
    ],
)
def test_names_of_benchmarks_are_checked_before_the_model_is_looked_up(
    options: dict[str, Any], problem: str, prepared: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def look_up(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(_common, "check_model", look_up)
    with pytest.raises(SpyBenchError, match=problem):
        train("sft", words(prepared, options, output_dir=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
