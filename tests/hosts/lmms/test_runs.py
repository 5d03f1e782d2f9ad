"""Other ways to run the tasks: several processes, a local model, answers only, missing data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models import tiny_random as tiny
from spy_plugin.runs.metadata import RunMetadata
from tests.hosts.lmms.harness import BIN, Harness, results, rows

POLICY = ("--model", "spy_policy", "--model_args", "model=spy-literal")


def our_rows(out: Path) -> dict[str, dict[str, Any]]:
    return {
        task: {key: value for key, value in row.items() if key != "alias"}
        for task, row in results(out)["results"].items()
        if task.startswith("spy_bench")
    }


def test_the_plain_command_ends_with_scores(harness: Harness, tmp_path: Path) -> None:
    done = harness.start("--tasks", "spy_bench_mini", *POLICY, cwd=tmp_path)
    assert done.code == 0, done.text
    table = done.table()
    scores = []
    for task in ("spy_bench_mini_distractors", "spy_bench_mini_no_distractors"):
        assert table[task, "judged_share"] == "100.0000"
        scores.append(float(table[task, "privacy_score"]))
        assert 0 < scores[-1] < 100
    group = float(table["spy_bench_mini", "privacy_score"])
    assert group == pytest.approx(sum(scores) / 2, abs=1e-3)


def test_two_processes_give_the_figures_of_one(harness: Harness, tmp_path: Path) -> None:
    words = ("--tasks", "spy_bench_mini", *POLICY, "--log_samples", "--output_path")
    one = harness.run(*words, str(tmp_path / "one"))
    assert one.code == 0, one.text
    two = harness.start(
        *("--standalone", "--nproc_per_node", "2", str(BIN / "lmms-eval")),
        *words,
        str(tmp_path / "two"),
        command=(str(BIN / "torchrun"),),
        env={"ACCELERATE_USE_CPU": "1"},
    )
    assert two.code == 0, two.text
    figures = our_rows(tmp_path / "one")
    assert figures["spy_bench_mini_distractors"]["judged_share,none"] == 100
    assert 0 < figures["spy_bench_mini_distractors"]["privacy_score,none"] < 100
    assert our_rows(tmp_path / "two") == figures
    for kind in ("verdicts", "answers"):
        name = f"*_spy_bench_mini_distractors_{kind}.jsonl"
        (first,) = (tmp_path / "one").rglob(name)
        (second,) = (tmp_path / "two").rglob(name)
        assert first.read_text() == second.read_text()
    (logged,) = (tmp_path / "two").rglob("*_samples_spy_bench_mini_distractors.jsonl")
    assert {row["judged_share"]["outcome"] for row in rows(logged)} == {"respond", "reject"}


def test_a_local_model_runs_and_few_samples_give_no_figure_rather_than_a_wrong_one(
    harness: Harness, tmp_path: Path
) -> None:
    done = harness.run(
        *("--tasks", "spy_bench_mini", "--model", "qwen2_vl", "--limit", "3"),
        *("--model_args", f"pretrained={tiny.build()},device_map=cpu", "--device", "cpu"),
        *("--gen_kwargs", "max_new_tokens=8", "--output_path", str(tmp_path)),
    )
    assert done.code == 0, done.text
    found = our_rows(tmp_path)
    assert found["spy_bench_mini"]["privacy_score,none"] == "N/A"
    row = found["spy_bench_mini_distractors"]
    counts = {outcome: row[f"samples_{outcome.value},none"] for outcome in Outcome}
    assert sum(counts.values()) == 3
    assert counts[Outcome.FAILED] == counts[Outcome.FILTERED] == 0
    assert row["privacy_score,none"] == "N/A"
    (record,) = tmp_path.rglob("*_mini_distractors_spy.json")
    options = RunMetadata.read(record).options
    asked = options["requested_decoding"]
    assert (asked["max_tokens"], asked["do_sample"]) == (8, False)
    assert options["decoding_note"] == "as asked; the backend may override it"
    assert "decoding" not in options
    (answers,) = tmp_path.rglob("*_mini_distractors_answers.jsonl")
    assert len(rows(answers)) == 3


def test_our_tiny_models_go_by_name(harness: Harness, tmp_path: Path) -> None:
    tasks = ("spy_bench_lab_distractors", "spy_bench_lab_self_mod")
    done = harness.run(
        *("--tasks", ",".join(tasks), "--model", tiny.NAME, "--limit", "5"),
        *("--output_path", str(tmp_path)),
    )
    assert done.code == 0, done.text
    for task, later_turns in zip(tasks, (0, 2), strict=True):
        (path,) = tmp_path.rglob(f"*_{tiny.NAME}_{task}_answers.jsonl")
        answers = rows(path)
        assert [len(answer["turns"]) for answer in answers] == [later_turns] * 5
        assert len({answer["response"] for answer in answers}) > 1


def test_answers_only_need_no_judge(harness: Harness, release: Path, tmp_path: Path) -> None:
    done = harness.run(
        *("--tasks", "spy_bench_distractors", *POLICY, "--limit", "4", "--predict_only"),
        *("--output_path", str(tmp_path)),
        env={"SPY_BENCH_RELEASE": str(release)},
    )
    assert done.code == 0, done.text
    (logged,) = tmp_path.rglob("*_samples_spy_bench_distractors.jsonl")
    assert len([row["filtered_resps"] for row in rows(logged)]) == 4
    assert not list(tmp_path.rglob("*_verdicts.jsonl"))


def test_missing_data_are_said_before_anything_is_generated(harness: Harness) -> None:
    done = harness.run("--tasks", "spy_bench", *POLICY)
    assert done.code == 1
    last = done.text.strip().splitlines()[-1]
    assert last.startswith("spy-bench: error:")
    assert "data prepare" in last
    assert "Traceback" not in done.text


def test_one_launcher_runs_and_reports(harness: Harness, tmp_path: Path) -> None:
    done = harness.start(
        *("run", "lmms-eval", "--", "--tasks", "spy_bench_mini_distractors", *POLICY),
        command=(str(BIN / "spy-bench"),),
        cwd=tmp_path,
        env={"PYTHONPATH": ""},  # the launcher fixes torchvision itself
    )
    assert done.code == 0, done.text
    out = tmp_path / "outputs" / "lmms-eval"
    figures = our_rows(out)["spy_bench_mini_distractors"]
    report = json.loads((out / "spy_report" / "report.json").read_text())
    assert f"{figures['privacy_score,none']:.3f}"[:5] in json.dumps(report)
    assert (out / "spy_report" / "report.html").is_file()


@pytest.mark.slow
def test_a_failed_run_is_a_failure_for_the_launcher(harness: Harness, tmp_path: Path) -> None:
    done = harness.start(
        *("run", "lmms-eval", "--", "--tasks", "spy_bench_mini", "--limit", "0", *POLICY),
        command=(str(BIN / "spy-bench"),),
        cwd=tmp_path,
    )
    assert done.code == 1
    assert "left no results" in done.text


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--tasks", "spy_bench_mimi", *POLICY), "Tasks not found: spy_bench_mimi. Try "),
        (
            ("--tasks", "spy_bench_mini", "--model", "spy_polcy"),
            "lmms-eval has no model 'spy_polcy'. Did you mean spy_policy?",
        ),
        (
            ("--tasks", "spy_bench_mini", *POLICY[:3], "model=spy-orcle"),
            "unknown policy 'spy-orcle'. Use one of spy-always-answer, ",
        ),
        (
            ("--tasks", "spy_bench_mini", *POLICY[:3], "policy=spy-oracle"),
            "--model_args: this model has no policy. It takes model.",
        ),
    ],
)
def test_a_misspelt_name_ends_our_launcher_in_one_line(
    harness: Harness, tmp_path: Path, words: tuple[str, ...], shown: str
) -> None:
    launcher = BIN / "spy-bench"
    done = harness.run("run", "lmms-eval", "--", *words, script=launcher, cwd=tmp_path)
    assert done.code == 1
    assert done.text.rstrip().splitlines()[-1].startswith(f"spy-bench: error: {shown}")
    assert "Traceback" not in done.text
