"""Who comes from the official scripts: each of their files and commands has its counterpart.

`docs/from_official_scripts.md` lists the commands. The scripts themselves are imitated.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.main import main
from spy_plugin.report import ReportOptions, build_report
from spy_plugin.report.model import Row
from spy_plugin.scoring.verdicts import read_rows, read_table, read_verdicts
from tests import official_scripts as scripts

QUICK = ReportOptions(resamples=50)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release at `release`; the working folder is its parent."""
    monkeypatch.chdir(tmp_path)
    scripts.write_release(tmp_path / "release")
    return tmp_path / "release"


@pytest.fixture
def entries(release: Path) -> list[dict[str, Any]]:
    content = json.loads((release / "benchmark/data/questions.json").read_text())
    found: list[dict[str, Any]] = content["benchmark_list"]
    return found


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """Run a command and return the JSON lines that it prints."""
    capsys.readouterr()
    assert main(list(words)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def shown(report_of: list[Path]) -> dict[str, Row]:
    """Return the rows of a report without the reference policies, by id."""
    report = build_report(report_of, QUICK)
    return {row.id: row for row in report.rows if not row.yardstick}


@pytest.mark.parametrize("distractors", [True, False])
def test_samples_are_the_rows_of_generate(
    release: Path,
    entries: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    distractors: bool,
) -> None:
    more = [] if distractors else ["--no-distractors"]
    found = printed(capsys, "samples", "--release", "release", *more)
    rows = list(scripts.input_rows(entries, distractors=distractors))
    assert len(found) == len(rows) == 60
    for sample, row in zip(found, rows, strict=True):
        same = ("benchmark_id", "label", "is_privacy", "question_id", "image_path", "question")
        assert {name: sample[name] for name in same} == {name: row[name] for name in same}
        assert sample["gt"] == row["ref_answer"]
        assert sample["prompt"] == scripts.prompt_of(row)
        assert sample["label_words"] == scripts.WORDS[row["label"]]


@pytest.mark.parametrize("kind", ["json", "items", "rows", "rows without distractors"])
def test_single_files_are_a_benchmark(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    data, distractors = Path("release/benchmark/data"), kind != "rows without distractors"
    more = [] if distractors else ["--no-distractors"]
    expected = printed(capsys, "samples", "--release", "release", *more)
    if kind == "json":
        questions = data / "questions.json"
    elif kind == "items":
        questions = scripts.write_rows(data / "questions.jsonl", entries)
    else:
        rows = scripts.input_rows(entries, distractors=distractors)
        questions = scripts.write_rows(data / "rows.jsonl", rows)
    words = ["--questions", str(questions), *more]
    assert printed(capsys, "samples", *words) == expected
    # Elsewhere, with the labels and the pictures named; the words are then the built-in ones.
    away = Path("away") / questions.name
    away.parent.mkdir()
    questions.rename(away)
    files = ["--labels", str(data / "label2text.json"), "--images", str(data)]
    words = ["--questions", str(away), *files, *more]
    moved = printed(capsys, "samples", *words)
    assert [row["sample_id"] for row in moved] == [row["sample_id"] for row in expected]
    out = ["--out", "answers.jsonl"]
    assert main(["generate", "--backend", "policy", "--model", "spy-oracle", *words, *out]) == 0
    assert "spy-bench judge answers.jsonl --questions" in capsys.readouterr().out
    judge = ["judge", "answers.jsonl", *words[: len(words) - len(more)], "--judge", "rules"]
    assert main(judge) == 0
    assert f"of {len(expected)} samples" in capsys.readouterr().out


def test_rows_without_distractors_have_no_samples_with_them(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(scripts.input_rows(entries, distractors=False))
    path = scripts.write_rows(release / "benchmark/data/rows.jsonl", rows)
    assert main(["samples", "--questions", str(path)]) == 1
    assert "Add --no-distractors" in capsys.readouterr().err
    scripts.write_rows(path, rows[1:])
    assert main(["samples", "--questions", str(path), "--no-distractors"]) == 1
    assert "sample 00000000/no_distractors/private: the row is missing" in capsys.readouterr().err


def test_labels_without_questions_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--mini", "--labels", "l.json"]) == 1
    assert "--labels and --images go with --questions" in capsys.readouterr().err


def test_a_report_on_answers_alone_prints_the_command_that_judges_them(
    release: Path,
    entries: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = scripts.answered(scripts.input_rows(entries, distractors=True))
    scripts.write_rows(Path("results/resp/m x.jsonl"), answers)
    assert main(["report", "results"]) == 1
    command = "spy-bench judge 'results/resp/m x.jsonl' --benchmark official"
    assert f"Judge them with: {command} " in capsys.readouterr().err
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(release))
    assert main([*shlex.split(command)[1:], "--judge", "rules"]) == 0


@pytest.mark.parametrize("part", ["with_distractors", "without_distractors"])
def test_answers_are_judged_and_scored_as_evaluate_and_metrics_do(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], part: str
) -> None:
    rows = scripts.input_rows(entries, distractors=part == "with_distractors")
    answers = list(scripts.answered(rows))
    resp = scripts.write_rows(Path(f"results/{part}/resp/m.jsonl"), answers)
    assert main(["judge", str(resp), "--release", "release", "--judge", "rules"]) == 0
    judged = list(scripts.evaluated(answers))
    theirs = scripts.write_rows(Path(f"results/{part}/eval/m__rules.jsonl"), judged)
    figures = []
    for path in (resp.with_name("m_verdicts.jsonl"), theirs):
        (found,) = printed(capsys, "score", str(path), "--json", "--release", "release")
        figures.append(
            {
                n: v if n == "hms" else v["score"]
                for n, v in found["metrics"].items()
                if n in scripts.metrics(judged)
            }
        )
    assert figures == [scripts.metrics(judged)] * 2
    rows_of = shown([Path("results")])
    assert {row.model for row in rows_of.values()} == {"m"}
    variant = "distractors" if part == "with_distractors" else "no_distractors"
    assert {row.condition.variant for row in rows_of.values()} == {variant}
    assert {row.condition.judge.name for row in rows_of.values() if row.condition.judge} == {
        "rules"
    }


def test_self_moderation_is_judged_by_its_last_turn(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(
        scripts.self_moderated(scripts.answered(scripts.input_rows(entries, distractors=True)))
    )
    resp = scripts.write_rows(Path("self_mod/resp/m.jsonl"), rows)
    assert main(["judge", str(resp), "--release", "release", "--judge", "rules"]) == 0
    judged = list(scripts.evaluated(rows, key="resp_3"))
    path = scripts.write_rows(Path("self_mod/eval/m__j_resp_3.jsonl"), judged)
    expected = scripts.metrics(judged, "eval_3")["hms"]
    for verdicts in (resp.with_name("m_verdicts.jsonl"), path):
        (found,) = printed(capsys, "score", str(verdicts), "--json", "--release", "release")
        assert found["metrics"]["hms"] == expected
    second = list(scripts.evaluated(rows, key="resp_2"))
    scripts.write_rows(Path("self_mod/eval/m__j_resp_2.jsonl"), second)
    rows_of = shown([Path("self_mod")]).values()
    assert all(row.condition.self_moderation for row in rows_of)
    assert sorted(row.condition.turn for row in rows_of) == [0, 0, 2]


def test_self_moderation_goes_on_from_official_answers(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    answers = list(scripts.answered(scripts.input_rows(entries, distractors=True)))
    answers[3] |= {"response": "Request failed after 1 attempts: no route to host"}
    resp = scripts.write_rows(Path("results/resp/m.jsonl"), answers)
    model = ["--backend", "policy", "--model", "spy-oracle"]
    words = ["self-moderate", str(resp), "--release", "release", *model, "--out", "mod.jsonl"]
    assert main(words) == 0
    found = read_answers(Path("mod.jsonl")).by_id
    assert len(found) == 60
    failed = [answer for answer in found.values() if answer.outcome is Outcome.FAILED]
    assert [answer.error[:29] for answer in failed] == ["turn 1: Request failed after "]


def test_requests_that_failed_or_wait_are_no_answers(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(scripts.input_rows(entries, distractors=True))
    answers = [*scripts.answered(rows[:40]), *rows[40:]]  # stopped after 40
    answers[7] |= {"response": "Request failed after 1 attempts: timeout"}
    answers[8] |= {"response": ""}  # an empty answer, since its prompt was asked
    resp = scripts.write_rows(Path("resp/m.jsonl"), answers)
    found = read_answers(resp)
    assert (len(found.by_id), found.model) == (40, "m")
    outcomes = [answer.outcome for answer in found.by_id.values()]
    assert outcomes == [None] * 7 + [Outcome.FAILED] + [None] * 32
    assert main(["judge", str(resp), "--release", "release", "--judge", "rules"]) == 0
    text = capsys.readouterr().out
    assert "failed 1, not asked 20 of 60 samples" in text
    (row,) = shown([Path("resp/m_verdicts.jsonl")]).values()
    assert row.counts is not None
    assert (row.counts.verdicts, row.counts.expected) == (40, 60)


def test_a_verdict_file_that_was_stopped_is_partial(
    release: Path, entries: list[dict[str, Any]]
) -> None:
    answers = list(scripts.answered(scripts.input_rows(entries, distractors=True)))
    path = scripts.write_rows(
        Path("eval/m__j.jsonl"), [*scripts.evaluated(answers[:30]), *answers[30:]]
    )
    assert len(read_rows(path).rows) == 30
    scripts.write_rows(Path("eval/n__j.jsonl"), scripts.evaluated(answers))
    rows = shown([Path("eval")])
    counts = {name: row.counts for name, row in rows.items() if row.counts}
    assert {name: (each.verdicts, each.expected) for name, each in counts.items()} == {
        "m": (30, 60),
        "n": (60, None),
    }
    assert rows["m"].condition.key() == rows["n"].condition.key()


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("respond", Outcome.RESPOND),
        ("reject", Outcome.REJECT),
        ("REJECT", Outcome.UNJUDGED),
        ("abstain", Outcome.UNJUDGED),
        ("I would say: respond", Outcome.UNJUDGED),
        ("", Outcome.UNJUDGED),
        ("Request failed after 1 attempts: 500", Outcome.FAILED),
    ],
)
def test_what_evaluate_stored_is_read_as_metrics_counts_it(
    entries: list[dict[str, Any]], word: str, outcome: Outcome
) -> None:
    answers = list(scripts.answered(scripts.input_rows(entries, distractors=True)))
    rows = list(scripts.evaluated(answers))
    rows[0] |= {"eval_resp": word}
    path = scripts.write_rows(Path("m__j.jsonl"), rows)
    assert read_verdicts(path)[0].outcome is outcome
    assert read_rows(path).rows[0].outcome is outcome
    table = read_table(path)
    counted = sum(row["eval_resp"] in ("respond", "reject") for row in rows)
    assert int((table.outcome <= 1).sum()) == counted


def test_a_failed_answer_has_failed_in_the_verdicts_too(entries: list[dict[str, Any]]) -> None:
    answers = list(scripts.answered(scripts.input_rows(entries, distractors=True)))
    answers[0] |= {"response": "Request failed after 1 attempts: 401"}
    path = scripts.write_rows(Path("m__j.jsonl"), scripts.evaluated(answers))
    assert read_verdicts(path)[0].outcome is read_rows(path).rows[0].outcome is Outcome.FAILED


def test_folders_of_the_scripts_are_runs(release: Path, entries: list[dict[str, Any]]) -> None:
    rows = list(scripts.input_rows(entries, distractors=True))
    for seed, model in enumerate(("one", "two")):
        answers = list(scripts.answered(rows, seed=seed))
        scripts.write_rows(Path(f"results/resp/{model}.jsonl"), answers)
        judged = scripts.evaluated(answers)
        scripts.write_rows(Path(f"results/eval/{model}__gpt-4o.jsonl"), judged)
    scripts.write_rows(Path("results/resp/three.jsonl"), answers)
    for run in ("results", "results/eval", "results/resp"):
        report = build_report([Path(run)], QUICK)
        found = {row.model: row for row in report.rows if not row.yardstick}
        assert sorted(found) == ["one", "two"], run
        assert {row.condition.judge.name for row in found.values() if row.condition.judge} == {
            "gpt-4o"
        }
        waiting = [note for note in report.notes if "three.jsonl" in note]
        assert len(waiting) == (run != "results/eval"), run
        kinds = {e.kind for row in found.values() for e in row.examples}
        prompts = {e.prompt for row in found.values() for e in row.examples}
        assert kinds
        assert all(prompts)


def test_answers_to_other_words_are_refused(
    release: Path, entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list(scripts.answered(scripts.input_rows(entries, distractors=True)))
    rows[5]["input_question"] = rows[5]["input_question"].replace("yourself", "us")
    resp = scripts.write_rows(Path("resp/m.jsonl"), rows)
    assert main(["judge", str(resp), "--release", "release", "--judge", "rules"]) == 1
    text = capsys.readouterr().err
    assert "was given to another prompt" in text
    assert "sample 00000001/distractors/private" in text


def test_a_file_of_answers_is_no_file_of_verdicts(
    entries: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = scripts.answered(scripts.input_rows(entries, distractors=True))
    resp = scripts.write_rows(Path("resp/m.jsonl"), rows)
    assert main(["score", str(resp)]) == 1
    assert "holds no verdicts" in capsys.readouterr().err
