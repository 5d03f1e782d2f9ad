"""Scores are rounded in one way, as by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.cli.main import main
from spy_plugin.scoring.rounding import rounded
from tests.report.made_up import expected_of, verdicts, write_run


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.125, "0.13"),
        (1.005, "1.01"),
        (96.875, "96.88"),
        (2 / 3, "0.67"),
        (100.0, "100.00"),
        (-0.001, "0.00"),
        (-0.005, "-0.01"),
        (1e-7, "0.00"),
    ],
)
def test_halves_are_rounded_away_from_zero(value: float, text: str) -> None:
    assert rounded(value) == text


def test_differences_have_a_sign() -> None:
    assert (rounded(1.2, signed=True), rounded(-1.2, signed=True)) == ("+1.20", "-1.20")


def test_score_report_and_hand_agree_to_the_last_digit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = verdicts(items=80, images=40, missing=0)
    write_run(tmp_path, "m", found)
    (path,) = tmp_path.glob("*_verdicts.jsonl")
    alone = [v for v in found if v.scenario is None]
    # By hand: of every two verdicts on an item, both as expected.
    right = [v.outcome is expected_of(v) for v in alone]
    pairs = [a and b for a, b in zip(right[::2], right[1::2], strict=True)]
    by_hand = sum(pairs) / len(pairs) * 100
    assert main(["score", str(path), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)["metrics"]
    assert scored["ics w/o scenario"]["score"] == by_hand
    assert main(["score", str(path)]) == 0
    table = capsys.readouterr().out
    assert f" {rounded(by_hand)} " in next(x for x in table.splitlines() if x.startswith("ics w/o"))
    assert main(["report", ".", "--out", "report", "--resamples", "50"]) == 0
    report = json.loads(Path("report/report.json").read_text())
    (row,) = [row for row in report["rows"] if not row["yardstick"]]
    figures = {name: figure["score"] for name, figure in row["figures"].items()}
    assert figures["ics w/o scenario"] == by_hand
    assert figures["hms"] == scored["hms"]
    assert figures["privacy score"] == (by_hand + scored["hms"]) / 2
    line = next(
        x for x in Path("report/report.md").read_text().splitlines() if x.startswith("| m ")
    )
    for name in ("privacy score", "ics w/o scenario", "hms"):
        assert f" {rounded(figures[name])} [" in line
