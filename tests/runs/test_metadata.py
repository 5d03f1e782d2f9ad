"""The metadata that every run writes beside its verdicts."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spy_plugin.errors import DataError
from spy_plugin.runs.metadata import (
    JudgeInfo,
    ProtocolInfo,
    RunMetadata,
    Usage,
    run_files,
    safe_name,
)


def metadata(**changes: object) -> RunMetadata:
    """The required metadata of a run, with changes."""
    return RunMetadata.model_validate(
        {
            "host": "vlmeval",
            "dataset": "SPYBench",
            "model": "m",
            "variant": "distractors",
            "benchmark": "mini",
            "protocol": ProtocolInfo(name="builtin-1", fingerprint="f"),
            "judge": JudgeInfo(name="rules"),
            **changes,
        }
    )


def test_what_is_written_is_read_back_with_a_hosts_own_keys(tmp_path: Path) -> None:
    about = metadata(usage={"judge": Usage(requests=3, cost=0.25)}, own_key={"a": [1]})
    about.write(tmp_path / "x_spy.json")
    assert RunMetadata.read(tmp_path / "x_spy.json") == about
    assert json.loads((tmp_path / "x_spy.json").read_text())["schema"] == 1


def test_times_are_kept_in_utc() -> None:
    east = timezone(timedelta(hours=8))
    about = metadata(started=datetime(2026, 1, 1, 8, tzinfo=east), finished=datetime(2026, 1, 1, 1))
    assert about.started == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert about.finished == datetime(2026, 1, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ('{"schema": 2}', "schema"),
        ("[]", "must be an object"),
        ('{"schema": 1, "variant": "other"}', "host"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "x_spy.json"
    path.write_text(text)
    with pytest.raises(DataError, match=problem) as caught:
        RunMetadata.read(path)
    assert "x_spy.json" in str(caught.value)


def test_a_file_of_a_newer_version_says_so_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x_spy.json"
    about = json.loads(metadata().model_dump_json(by_alias=True))
    path.write_text(json.dumps(about | {"variant": "of tomorrow", "schema": 2}))
    with pytest.raises(DataError) as caught:
        RunMetadata.read(path)
    assert str(caught.value) == (
        f'{path}: "schema" is 2: a newer version of spy-bench wrote this file. Upgrade this '
        "package: pip install --upgrade spy-bench"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"samples": -5}, '"samples" must be greater than or equal to 0, not -5'),
        ({"usage": {"judge": {"requests": -1}}}, '"usage.judge.requests" must be greater than or'),
        ({"usage": {"judge": {"cost": -0.5}}}, '"usage.judge.cost" must be greater than or'),
        ({"judge": {"name": "j", "calibration": {"n": -1}}}, '"judge.calibration.n" must be'),
        (
            {"judge": {"name": "j", "calibration": {"accuracy": 7}}},
            '"judge.calibration.accuracy" must be less than or equal to 1, not 7',
        ),
        (
            {"judge": {"name": "j", "calibration": {"respond": [5, 2]}}},
            '"judge.calibration.respond" has 5 wrong of 2',
        ),
    ],
)
def test_figures_that_cannot_be_are_refused(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    path = tmp_path / "x_spy.json"
    about = json.loads(metadata().model_dump_json(by_alias=True))
    path.write_text(json.dumps(about | change))
    with pytest.raises(DataError) as caught:
        RunMetadata.read(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity", "NaN", "1" + 400 * "0"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x_spy.json"
    text = metadata(usage={"judge": {"seconds": 12.5}}).model_dump_json(by_alias=True)
    path.write_text(text.replace("12.5", number))
    with pytest.raises(DataError, match=r"number|finite"):
        RunMetadata.read(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing_spy\.json: cannot be read"):
        RunMetadata.read(tmp_path / "nothing_spy.json")


def test_names_with_slashes_stay_in_the_folder(tmp_path: Path) -> None:
    verdicts, about = run_files(tmp_path, "org/model", "SPYBench")
    assert verdicts == tmp_path / "org__model_SPYBench_verdicts.jsonl"
    assert about == tmp_path / "org__model_SPYBench_spy.json"


@pytest.mark.parametrize(
    ("model", "stem"),
    [
        ("qwen2.5vl:7b", "qwen2.5vl-7b"),
        ('m?*<>|"', "m------"),
        ("a\nb", "a-b"),
        ("../up", "..__up"),
        ("Modell-\u00e4", "Modell-\u00e4"),
    ],
)
def test_names_of_models_make_file_names_of_every_system(model: str, stem: str) -> None:
    assert safe_name(model) == stem


def test_long_names_of_models_stay_apart_and_fit() -> None:
    names = {safe_name("\u62a4" * 300 + end) for end in ("", "a", "b")}
    assert len(names) == 3
    assert all(len(f".{name}_SPYBench_answers.jsonl.1234567.tmp".encode()) < 200 for name in names)


def test_texts_of_somebody_elses_run_are_made_printable(tmp_path: Path) -> None:
    found = metadata(
        model="a\x1b[31mb",
        judge={"name": "j\x07", "asked": ["\x00"]},
        verdicts="v\x1b.jsonl",
        own_key={"k\x08": "\x7f"},
    )
    assert found.model == "a\ufffd[31mb"
    assert found.judge.name == "j\ufffd"
    assert found.judge.model_extra == {"asked": ["\ufffd"]}
    assert found.model_extra == {"own_key": {"k\ufffd": "\ufffd"}}
    assert found.verdicts == "v\x1b.jsonl"  # the file has that name


def test_metadata_nested_too_deep_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    about = json.loads(metadata().model_dump_json(by_alias=True)) | {"own_key": deep}
    (tmp_path / "x_spy.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(DataError, match=r"x_spy.json: is nested more than 200 deep"):
        RunMetadata.read(tmp_path / "x_spy.json")
