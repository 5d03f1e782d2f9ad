"""VLMEvalKit judges the answers of `spy-bench generate` as `spy-bench judge` does."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer, Outcome, Sample, Verdict, dump_jsonl
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.cli.export_run import check
from spy_plugin.cli.main import main
from spy_plugin.errors import SAMPLES_FAILED, DataError, SpyBenchError
from spy_plugin.hosts.vlmeval.export_run import export_run, host_name
from spy_plugin.hosts.vlmeval.predictions import FAILED, answer_of, prediction_of
from spy_plugin.hosts.vlmeval.tables import read_predictions
from spy_plugin.judging import build_judge, judge_answers, load_verdicts
from tests.conftest import needs
from tests.hosts.vlmeval.hosting import one, run_host

HARD = ["N/A", "None", "", "=1+1", "-5", "007", "nan", "two\nlines", "a\r\n\tb", "https://x.org/a"]
HARD += ["b" * 40_000, "https://x.org/" + "c" * 3000]
SORRY = "I'm sorry, I can't share that.\ufffd"


def answers_to(samples: list[Sample], *, turns: bool) -> list[Answer]:
    """Answers that are difficult for a spreadsheet, and samples without an answer."""
    answers = []
    for number, sample in enumerate(samples):
        text = HARD[number % 20] if number % 20 < len(HARD) else (SORRY, "It is a cat.")[number % 2]
        more = ("Not quite.", text) if turns else ()
        answers.append(Answer(sample.sample_id, "first" if turns else text, turns=more))
    answers[3] = Answer(samples[3].sample_id, "", Outcome.FAILED, "timed out")
    answers[4] = Answer(samples[4].sample_id, "", Outcome.FILTERED, "[policy] not served")
    del answers[5]
    return answers


def own_verdicts(samples: list[Sample], answers: list[Answer], folder: Path) -> list[Verdict]:
    path = folder / "own_verdicts.jsonl"
    judge_answers(samples, answers, build_judge("rules", open_benchmark("mini").protocol), path)
    return load_verdicts(path)


@needs("xlsxwriter")
def test_the_host_comes_to_the_same_verdicts(tmp_path: Path) -> None:
    samples = list(open_benchmark("mini").samples())
    datasets = {"SPYBench_MINI": False, "SPYBench_MINI_SELF_MOD": True}
    own = {}
    for dataset, turns in datasets.items():
        answers = answers_to(samples, turns=turns)
        handed = export_run(answers, samples, dataset, "org/some model", tmp_path / "work")
        assert (handed.model, handed.failed) == ("org--some--model", 3)
        own[dataset] = own_verdicts(samples, answers, tmp_path / dataset)
    words = handed.command.split(" -- ")[1].replace(dataset, " ".join(datasets)).split()
    checkout = os.environ.get("VLMEVALKIT_DIR")
    done = run_host(*words, *(["--vlmevalkit", checkout] if checkout else []), cwd=tmp_path)
    assert done.returncode == SAMPLES_FAILED, done.stderr[-3000:]
    for dataset, verdicts in own.items():
        pattern = f"{handed.model}_{dataset}_rules-*_verdicts.jsonl"
        assert load_verdicts(one(tmp_path / "work" / handed.model, pattern)) == verdicts
        assert {verdict.outcome for verdict in verdicts} >= set(Outcome) - {Outcome.UNJUDGED}


@pytest.mark.parametrize("suffix", ["xlsx", "tsv", "json"])
def test_every_file_format_keeps_the_answers(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setenv("PRED_FORMAT", suffix)
    samples = list(open_benchmark("mini").samples())[: len(HARD)]
    answers = [Answer(s.sample_id, text) for s, text in zip(samples, HARD, strict=True)]
    handed = export_run(answers, samples, "SPYBench_MINI", "m", tmp_path)
    assert handed.prediction_file.name == f"m_SPYBench_MINI.{suffix}"
    assert "--keep-failed" not in handed.command
    read = list(read_predictions(handed.prediction_file))
    assert read == [(s.sample_id, s.prompt, t) for s, t in zip(samples, HARD, strict=True)]


@pytest.mark.parametrize(
    "answer",
    [
        Answer("s", "N/A"),
        Answer("s", "", Outcome.FAILED, "two\nlines"),
        Answer("s", "", Outcome.FILTERED, "not served"),
        Answer("s", "a", turns=("=1", "\ufffd \N{GRINNING FACE}")),
    ],
)
def test_a_prediction_stands_for_its_answer(answer: Answer) -> None:
    text = prediction_of(answer)
    assert answer_of("s", text, self_moderation=bool(answer.turns)) == answer
    assert (FAILED in text) == (answer.outcome is not None)


def test_a_prediction_that_was_cut_has_failed() -> None:
    whole = prediction_of(Answer("s", "a", turns=("b", "c")))
    cut = answer_of("s", whole[:-3], self_moderation=True)
    assert cut.outcome is Outcome.FAILED
    assert "three turns" in cut.error


def test_a_model_gets_the_name_that_the_host_knows_it_by() -> None:
    assert host_name("Qwen/Qwen2-VL-7B-Instruct") == "Qwen2-VL-7B-Instruct"
    assert host_name("outputs/nca-priv") == "outputs--nca-priv"


def test_a_data_set_that_the_host_does_not_know_is_refused(tmp_path: Path) -> None:
    name = "SPYBench_NO_DISTRACTORS_SELF_MOD"
    with pytest.raises(SpyBenchError, match=f"no data set {name!r}"):
        export_run([], [], name, "m", tmp_path)


@needs("xlsxwriter")
def test_what_does_not_fit_is_refused_and_nothing_is_replaced(tmp_path: Path) -> None:
    samples = list(open_benchmark("mini").samples())[:2]
    first = samples[0].sample_id
    for answer, dataset, message in [
        (Answer("other", "a"), "SPYBench_MINI", "belongs to no sample"),
        (Answer(first, "a", turns=("b", "c")), "SPYBench_MINI", "has 3 turns"),
        (Answer(first, "a"), "SPYBench_MINI_SELF_MOD", "has 1 turns"),
    ]:
        with pytest.raises(DataError, match=message):
            export_run([answer], samples, dataset, "m", tmp_path)
    assert not list(tmp_path.rglob("*.xlsx"))
    earlier = tmp_path / "m" / "m_SPYBench_MINI.xlsx"
    earlier.parent.mkdir()
    earlier.write_bytes(b"answers")
    with pytest.raises(DataError, match="already holds answers of this model"):
        export_run([Answer(first, "a")], samples, "SPYBench_MINI", "m", tmp_path)
    assert earlier.read_bytes() == b"answers"


@needs("xlsxwriter")
def test_a_file_of_answers_is_handed_over_by_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = list(open_benchmark("mini").samples())
    answers = tmp_path / "m_SPYBench_MINI_answers.jsonl"
    answers.write_text(dump_jsonl(Answer(s.sample_id, "N/A") for s in samples), encoding="utf-8")
    words = ["export-run", str(answers), "--mini", "--as"]
    assert main([*words, "vlmeval", str(tmp_path / "work")]) == 0
    written = one(tmp_path / "work", "m/T*/m_SPYBench_MINI.xlsx")
    assert [text for _, _, text in read_predictions(written)] == ["N/A"] * len(samples)
    assert f"--mode eval --reuse --work-dir {tmp_path / 'work'}" in capsys.readouterr().out
    assert main([*words, "elsewhere", str(tmp_path / "work")]) == 1
    assert "--as elsewhere: unknown. Use vlmeval." in capsys.readouterr().err


def test_a_part_of_a_run_is_not_handed_over() -> None:
    with pytest.raises(SpyBenchError, match="this is part 1/2"):
        check(("vlmeval", "x"), "1/2")
    check(None, "1/2")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_a_model_is_asked(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    words = ["--backend", "policy", "--model", "spy-literal", "--mini", "--as", "vlmeval", place]
    assert main(["generate", *words]) == 1
    assert capsys.readouterr().err == (
        f"spy-bench: error: --as vlmeval {place}: must be a folder, but file is a file. Name "
        "another.\n"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_format_that_cannot_be_written_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = list(open_benchmark("mini").samples())[:1]
    answer = Answer(samples[0].sample_id, "a")
    monkeypatch.setenv("PRED_FORMAT", "pdf")
    with pytest.raises(SpyBenchError, match="must be one of xlsx, tsv, json, not 'pdf'"):
        check(("vlmeval", str(tmp_path / "work")), None)
    with pytest.raises(SpyBenchError, match="must be one of xlsx, tsv, json, not 'pdf'"):
        export_run([answer], samples, "SPYBench_MINI", "m", tmp_path / "work")
    monkeypatch.delenv("PRED_FORMAT")
    monkeypatch.setattr("spy_plugin.hosts.vlmeval.tables.find_spec", lambda name: None)
    with pytest.raises(SpyBenchError, match="need xlsxwriter"):
        export_run([answer], samples, "SPYBench_MINI", "m", tmp_path / "work")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_work_folder_that_cannot_be_made_is_refused_before_the_host_starts(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MMEVAL_ROOT", raising=False)
    Path("file").write_text("mine")
    words = ["--data", "SPYBench_MINI", "--model", "spy-literal", "--work-dir", place]
    assert main(["run", "vlmeval", *words]) == 1
    said = f"run.py: error: --work-dir {place}: must be a folder, but file is a file. Name another"
    assert said in capsys.readouterr().err


@needs("xlsxwriter")
def test_two_runs_of_one_second_are_two_folders(tmp_path: Path) -> None:
    samples = list(open_benchmark("mini").samples())[:1]
    answer = Answer(samples[0].sample_id, "a")
    runs = [export_run([answer], samples, "SPYBench_MINI", "m", tmp_path) for _ in range(2)]
    names = [run.prediction_file.parent.name for run in runs]
    # A run that the host begins now has another name.
    assert names[0] < names[1] < datetime.now().astimezone().strftime("T%Y%m%d-%H%M%S")
    status = json.loads(runs[0].prediction_file.with_name("status.json").read_text())
    assert status["datasets"]["SPYBench_MINI"]["skip_reason"] == "mode_infer"
