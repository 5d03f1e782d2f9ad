"""`spy-bench score`: intervals and bounds in the table, and in the JSON on request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import dump_jsonl
from spy_plugin.cli.main import main
from spy_plugin.scoring.stats import FEW_PICTURES, FIGURES, PRIVACY, bounds, estimates
from spy_plugin.scoring.table import tabulate
from tests.report.made_up import verdicts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of verdicts, some of which are missing."""
    path = tmp_path / "verdicts.jsonl"
    path.write_text(dump_jsonl(verdicts(items=60, missing=0.1)), encoding="utf-8")
    return path


def test_table_has_an_interval_and_bounds_for_each_figure(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(file), "--seed", "5"]) == 0
    text = capsys.readouterr().out
    table = tabulate(verdicts(items=60, missing=0.1))
    found, limits = estimates(table, seed=5), bounds(table)
    lines = text.splitlines()
    assert "95% interval" in lines[0]
    assert "worst .. best" in lines[0]
    for name in FIGURES:
        (line,) = (line for line in lines if line.startswith(name.ljust(36)))
        assert f"{found[name].low:.2f} .. {found[name].high:.2f}" in line
        assert f"{limits[name][0]:.2f} .. {limits[name][1]:.2f}" in line


def test_intervals_can_be_left_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(file), "--no-intervals"]) == 0
    assert ".." not in capsys.readouterr().out


def test_json_has_intervals_only_when_asked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(file), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"metrics", "by_label"}
    assert main(["score", str(file), "--json", "--intervals", "--resamples", "100"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert set(out) == {"metrics", "by_label", "intervals", "bounds"}
    assert out["intervals"][PRIVACY]["low"] < out["intervals"][PRIVACY]["score"]
    assert set(out["bounds"]) == set(FIGURES)


@pytest.mark.parametrize(("items", "few"), [(20, True), (200, False)])
def test_fewer_than_thirty_pictures_are_said(
    items: int, few: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "v.jsonl"
    rows = verdicts(items=items, missing=0)
    assert (len({row.image_path for row in rows}) < FEW_PICTURES) == few
    path.write_text(dump_jsonl(rows), encoding="utf-8")
    assert main(["score", str(path), "--resamples", "100"]) == 0
    assert ("fewer than 30 pictures" in capsys.readouterr().out) == few
    assert main(["report", str(path), "--out", str(tmp_path / "r"), "--resamples", "100"]) == 0
    said = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    assert ("pictures: its intervals and p values are rough" in said) == few


def test_complete_verdicts_have_no_column_of_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "complete.jsonl"
    path.write_text(dump_jsonl(verdicts(items=10, missing=0)), encoding="utf-8")
    assert main(["score", str(path)]) == 0
    assert "worst" not in capsys.readouterr().out


@pytest.mark.parametrize("number", ["0", "-5", "many"])
def test_number_of_resamples_must_be_positive(file: Path, number: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["score", str(file), "--resamples", number])


def test_a_partial_run_says_how_many_samples_were_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "x_answers.jsonl"
    words = ["generate", "--backend", "policy", "--model", "spy-literal", "--mini"]
    assert main([*words, "--limit", "5", "--out", str(answers)]) == 0
    assert main(["judge", str(answers)]) == 0
    capsys.readouterr()
    assert main(["score", str(tmp_path / "x_verdicts.jsonl")]) == 0
    assert "partial run: 855 of 860 samples were not asked" in capsys.readouterr().out
    assert main([*words, "--out", str(answers)]) == 0
    assert main(["judge", str(answers)]) == 0
    assert main(["score", str(tmp_path / "x_verdicts.jsonl")]) == 0
    assert "partial run" not in capsys.readouterr().out
