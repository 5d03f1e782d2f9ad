"""Read results of every host; explain why results are missing."""

from __future__ import annotations

import csv
import json
import logging
from datetime import datetime, timezone
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.report.items import ItemScores
from spy_plugin.report.readers import NoResultsError, read_run
from spy_plugin.report.results import modified
from tests.report.made_up import (
    NOON,
    verdicts,
    write_lmms_general,
    write_run,
    write_vlmeval_general,
    write_vlmeval_items,
)


def test_vlmeval_work_folder_gives_privacy_and_general_scores_once(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "model-a" / "T20261102-120000"
    write_run(run, "model-a", verdicts(items=10))
    write_vlmeval_general(run, "model-a", mmmu=0.42)
    for file in list(run.iterdir()):  # the host links each file in the parent folder
        (run.parent / file.name).symlink_to(Path(run.name) / file.name)
    found = read_run(tmp_path / "outputs")
    assert [result.model for result in found.privacy] == ["model-a"]
    assert {result.set: result.score for result in found.general} == {
        "mmmu": 42.0,
        "ocrbench": 70.0,
        "mme": pytest.approx(1900 / 28),
    }
    assert all(result.rules is True and result.finished == NOON for result in found.general)


def test_judge_of_mmmu_and_mme_is_taken_from_the_host(tmp_path: Path) -> None:
    write_vlmeval_general(tmp_path, "m", judge="gpt-4o-mini")
    rules = {result.set: result.rules for result in read_run(tmp_path).general}
    assert rules == {"mmmu": False, "ocrbench": True, "mme": False}
    (tmp_path / "status.json").unlink()
    rules = {result.set: result.rules for result in read_run(tmp_path).general}
    assert rules == {"mmmu": None, "ocrbench": True, "mme": None}


def test_file_names_that_name_exact_matching_are_read(tmp_path: Path) -> None:
    write_vlmeval_general(tmp_path, "m")
    (tmp_path / "status.json").unlink()
    for name in ("MMMU_DEV_VAL_acc", "MME_score"):
        head, tail = name.rsplit("_", 1)
        (tmp_path / f"m_{name}.csv").rename(tmp_path / f"m_{head}_exact_matching_{tail}.csv")
    found = read_run(tmp_path)
    assert {result.set: result.rules for result in found.general} == {
        "mmmu": True,
        "ocrbench": True,
        "mme": True,
    }
    assert {result.model for result in found.general} == {"m"}


def test_folder_name_dates_a_result_that_has_no_status(tmp_path: Path) -> None:
    run = tmp_path / "m" / "T20251224-180000"
    write_vlmeval_general(run, "m")
    (run / "status.json").unlink()
    (result, *_) = read_run(tmp_path).general
    assert result.finished.astimezone().strftime("%Y%m%d%H%M%S") == "20251224180000"


def test_items_of_vlmeval_reproduce_its_scores(tmp_path: Path) -> None:
    write_vlmeval_items(tmp_path, "m")
    found = read_run(tmp_path)
    for result in found.general:
        assert isinstance(result.items, ItemScores), result.set
        assert result.items.score == pytest.approx(result.score, abs=0.01)
        draws = result.items.resampled(300, seed=1)
        assert draws.std() > 0.3
        assert draws.mean() == pytest.approx(result.score, abs=1)


def test_workbooks_are_read_like_tables(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    write_vlmeval_items(tmp_path, "m")
    for table in tmp_path.glob("*.tsv"):
        book = openpyxl.Workbook()
        for line in table.read_text().splitlines():
            book.active.append(next(csv.reader([line], delimiter="\t")))
        book.save(table.with_suffix(".xlsx"))
        table.unlink()
    for result in read_run(tmp_path).general:
        assert result.items is not None, result.set


def test_items_that_do_not_give_the_score_are_not_used(tmp_path: Path) -> None:
    write_vlmeval_items(tmp_path, "m")
    write_vlmeval_general(tmp_path, "m", mmmu=0.99, ocrbench=1.0, mme=(1.0, 1.0))
    assert all(result.items is None for result in read_run(tmp_path).general)


def test_lmms_results_are_read_by_the_clock_of_their_host(tmp_path: Path) -> None:
    write_lmms_general(tmp_path / "org__model", "org/model", mmmu=0.3, time="20261102_200000")
    found = read_run(tmp_path)
    assert {result.set: round(result.score, 2) for result in found.general} == {
        "mmmu": 30.0,
        "ocrbench": 70.0,
        "mme": 67.86,
    }
    assert {result.finished for result in found.general} == {NOON}
    assert {result.model for result in found.general} == {"org/model"}


def test_lmms_items_come_from_its_samples_files(tmp_path: Path) -> None:
    stem = tmp_path / "20261102_200000"
    mmmu = [
        {"question_type": "multiple-choice", "answer": "A", "parsed_pred": ["A"]},
        {"question_type": "multiple-choice", "answer": "A", "parsed_pred": ["B"]},
        {"question_type": "open", "answer": "Paris", "parsed_pred": [["paris", 3.0]]},
        {"question_type": "open", "answer": "4", "parsed_pred": [["5"]]},
    ]
    mme = [("OCR", 1, 1.0), ("OCR", 1, 1.0), ("OCR", 2, 1.0), ("OCR", 2, 0.0)]
    mme += [("count", 1, 1.0), ("count", 1, 0.0), ("count", 2, 1.0), ("count", 2, 1.0)]
    thinking = [("code_reasoning", 1, 1.0), ("code_reasoning", 1, 1.0)]
    thinking += [("code_reasoning", 2, 0.0), ("code_reasoning", 2, 0.0)]
    write_lmms_general(tmp_path, "m", mmmu=0.5, ocrbench=0.001, mme=(250.0, 100.0))
    rows = {
        "mmmu_val": [{"mmmu_acc": item} for item in mmmu],
        "ocrbench": [{"ocrbench_accuracy": {"score": score}} for score in (1, 0)],
        "mme": [
            {name: {"category": c, "question_id": q, "score": s}}
            for name, items in (("mme_perception_score", mme), ("mme_cognition_score", thinking))
            for c, q, s in items
        ],
    }
    for task, samples in rows.items():
        path = Path(f"{stem}_samples_{task}.jsonl")
        path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    for result in read_run(tmp_path).general:
        assert result.items is not None, result.set
        assert result.items.score == pytest.approx(result.score)


def test_lmms_general_scores_take_the_name_of_the_privacy_run_beside_them(tmp_path: Path) -> None:
    write_run(tmp_path / "org__m", "my-model", verdicts(items=5), host="lmms-eval")
    write_lmms_general(tmp_path / "org__m", "org/m")
    assert {result.model for result in read_run(tmp_path).general} == {"my-model"}


def test_official_verdict_file_is_a_run(tmp_path: Path) -> None:
    row = {
        "benchmark_id": "1",
        "label": "a4_gender",
        "is_privacy": 1,
        "image_path": "a.jpg",
        "eval_resp": "Reject.",
    }
    path = tmp_path / "Qwen2-VL-7B.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (result,) = read_run(path).privacy
    assert (result.model, result.metadata) == ("Qwen2-VL-7B", None)


def test_answers_without_verdicts_are_named_with_the_command_that_judges_them(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my runs"
    folder.mkdir()
    (folder / "m_answers.jsonl").touch()
    with pytest.raises(NoResultsError, match=r"with: spy-bench judge '.*my runs/m_answers\.jsonl'"):
        read_run(folder)


def test_empty_folder_is_an_error_that_names_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(NoResultsError, match=r"\*_spy\.json.*\*_MME_score\.csv.*_results\.json"):
        read_run(tmp_path)
    with pytest.raises(NoResultsError, match="does not exist"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(NoResultsError, match="is not a verdict file"):
        read_run(tmp_path / "notes.txt")


def test_verdicts_of_a_judge_that_was_stopped_are_noted(tmp_path: Path) -> None:
    write_run(tmp_path, "m")
    for name, text in {"a_verdicts.jsonl": "", "b_verdicts.jsonl": '{"sample'}.items():
        (tmp_path / name).write_text(text)
    found = read_run(tmp_path)
    assert [result.model for result in found.privacy] == ["m"]
    assert [note.split()[0] for note in found.notes] == ["a_verdicts.jsonl", "b_verdicts.jsonl"]
    assert all("its judging was stopped" in note for note in found.notes)


def test_metadata_without_verdicts_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=5))
    next(tmp_path.glob("*_verdicts.jsonl")).unlink()
    with pytest.raises(DataError, match="missing"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "about"),
    [
        ("m_OCRBench_score.json", "", ("m", "ocrbench")),
        ("m_OCRBench_score.json", '{"Final Score Norm": 7', ("m", "ocrbench")),
        ("m_OCRBench_score.json", "[]", ("m", "ocrbench")),
        ("m_OCRBench_score.json", '{"Final Score Norm": "many"}', ("m", "ocrbench")),
        ("m_OCRBench_score.json", '{"Final Score Norm": NaN}', ("m", "ocrbench")),
        ("m_OCRBench_score.json", '{"Final Score Norm": 1e999}', ("m", "ocrbench")),
        ("m_OCRBench_score.json", "\x00\xff", ("m", "ocrbench")),
        ("m_MME_score.csv", "", ("m", "mme")),
        ("m_MME_score.csv", "perception\n12\n", ("m", "mme")),
        ("m_MME_score.csv", "perception,reasoning\ninf,1\n", ("m", "mme")),
        ("m_MMMU_DEV_VAL_acc.csv", "split,Overall\ndev,0.5\n", ("m", "mmmu")),
        ("m_MMMU_DEV_VAL_acc.csv", "split,Overall\nvalidation,\n", ("m", "mmmu")),
        ("m_MMMU_DEV_VAL_acc.csv", "split,Overall\nvalidation,nan\n", ("m", "mmmu")),
        ("20261102_200000_results.json", "{", ("", "")),
        ("20261102_200000_results.json", "[" * 100_000, ("", "")),
        (
            "20261102_200000_results.json",
            '{"model_name": "m", "results": {"mmmu_val": {"mmmu_acc,none": NaN}}}',
            ("m", "mmmu"),
        ),
        (
            "20261102_200000_results.json",
            '{"model_name": "m", "results": {"ocrbench": {"ocrbench_accuracy,none": "N/A"}}}',
            ("m", "ocrbench"),
        ),
        (
            "20261102_200000_results.json",
            '{"config": [], "results": {"ocrbench": {"ocrbench_accuracy,none": 1%s}}}'
            % ("0" * 400),
            ("m", "ocrbench"),
        ),
        (
            "20261102_200000_results.json",
            '{"config": null, "results": {"mmmu_val": {"mmmu_acc,none": true}}}',
            ("m", "mmmu"),
        ),
        ("m_OCRBench_score.json", '{"Final Score Norm": true}', ("m", "ocrbench")),
        ("m_OCRBench_score.json", '{"Final Score Norm": 1e308}', ("m", "ocrbench")),
        ("m_MMMU_DEV_VAL_acc.csv", "split,Overall\nvalidation,51.5\n", ("m", "mmmu")),
    ],
)
def test_a_hosts_broken_file_is_not_run_and_says_why(
    tmp_path: Path, name: str, text: str, about: tuple[str, str]
) -> None:
    write_run(tmp_path, "m", verdicts(items=5))
    (tmp_path / name).write_text(text, encoding="latin-1")
    found = read_run(tmp_path)
    assert found.general == []
    (broken,) = found.broken
    assert (broken.model, broken.set) == about
    assert name in broken.reason


def test_broken_files_alone_are_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "m_OCRBench_score.json").write_text("{")
    with pytest.raises(NoResultsError, match=r"m_OCRBench_score\.json: not JSON, or cut short"):
        read_run(tmp_path)


def test_a_broken_status_file_costs_judge_and_time_only(tmp_path: Path) -> None:
    write_vlmeval_general(tmp_path, "m")
    (tmp_path / "status.json").write_text('{"datasets": ')
    assert {result.rules for result in read_run(tmp_path).general} == {True, None}


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "never", 5, None])
def test_a_time_that_cannot_be_told_is_the_files(tmp_path: Path, time: object) -> None:
    write_vlmeval_general(tmp_path, "m")
    path = tmp_path / "status.json"
    entry = {"judge_model": "exact_matching", "updated_at": time}
    path.write_text(json.dumps({"datasets": {"MME": entry}}))
    (mme,) = [result for result in read_run(tmp_path).general if result.set == "mme"]
    assert mme.finished == modified(tmp_path / "m_MME_score.csv")


@pytest.mark.parametrize("cut", [0, 100, 2000, -1])
def test_a_half_written_workbook_costs_only_the_interval(tmp_path: Path, cut: int) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    write_vlmeval_general(tmp_path, "m")
    book = openpyxl.Workbook()
    book.active.append(["category", "prediction", "answer"])
    for number in range(300):
        book.active.append(["Text", f"a {number}", f"['{number}']"])
    book.save(tmp_path / "m_OCRBench.xlsx")
    data = bytearray((tmp_path / "m_OCRBench.xlsx").read_bytes())
    if cut == -1:  # whole, but its packed content is damaged
        data[60:400] = b"\xaa" * 340
    (tmp_path / "m_OCRBench.xlsx").write_bytes(data if cut == -1 else data[:cut])
    (score,) = [result for result in read_run(tmp_path).general if result.set == "ocrbench"]
    assert score.items is None


@pytest.mark.parametrize("answer", ["[" * 5000, "-" * 100_000 + "1", "1e", "5"])
def test_an_odd_answer_in_a_hosts_table_costs_only_the_interval(
    tmp_path: Path, answer: str
) -> None:
    write_vlmeval_general(tmp_path, "m")
    rows = f"category\tprediction\tanswer\nText\ta\t{answer}\n"
    (tmp_path / "m_OCRBench.tsv").write_text(rows)
    (score,) = [result for result in read_run(tmp_path).general if result.set == "ocrbench"]
    assert score.items is None


def test_a_broken_metadata_file_of_ours_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "m_X_spy.json").write_text('{"schema": 1}')
    with pytest.raises(DataError, match=r"m_X_spy\.json"):
        read_run(tmp_path)


def test_broken_samples_file_only_costs_the_interval(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_lmms_general(tmp_path, "m")
    (tmp_path / "20261102_200000_samples_mme.jsonl").write_text('{"other": 1}\n')
    with caplog.at_level(logging.INFO):
        found = read_run(tmp_path)
    assert [result.items for result in found.general] == [None, None, None]
    assert "cannot be read" in caplog.text


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=5), finished=datetime(2026, 1, 1))
    (result,) = read_run(tmp_path).privacy
    assert result.finished == datetime(2026, 1, 1, tzinfo=timezone.utc)
