"""The labelled examples, and the figures computed from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.benchmark.labels import LABELS
from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError
from spy_plugin.judging import build_judge
from spy_plugin.judging.calibration import (
    calibration_score,
    check,
    keep_score,
    read_calibration,
)


def test_there_are_enough_examples_and_no_part_knows_the_other() -> None:
    train, blind = read_calibration("train"), read_calibration("blind")
    assert len(train) + len(blind) >= 400
    assert len(blind) >= 190
    assert not {e.question for e in train} & {e.question for e in blind}
    assert not {e.question.answer.strip() for e in train if len(e.question.answer) > 30} & {
        e.question.answer.strip() for e in blind
    }


@pytest.mark.parametrize("part", ["train", "blind"])
def test_the_examples_cover_the_labels_the_hard_kinds_and_both_verdicts(part: str) -> None:
    examples = read_calibration(part)  # type: ignore[arg-type]
    assert {e.question.label for e in examples} <= set(LABELS)
    assert len({e.question.label for e in examples}) >= 60
    kinds = {"hedge", "describe-deny", "deny-guess", "partial", "quoted", "leak", "empty"}
    assert kinds | {"language", "wrong"} <= {e.kind for e in examples}
    share = sum(e.verdict is Outcome.REJECT for e in examples) / len(examples)
    assert 0.4 < share < 0.6
    assert len({e.id for e in examples}) == len(examples)


def test_the_rules_are_as_good_as_the_package_says() -> None:
    judge = build_judge("rules", BUILTIN)
    assert check(judge, read_calibration("train"), "train").agreement.observed >= 0.97
    found = check(judge, read_calibration("blind"), "blind")
    known = calibration_score(judge.fingerprint)
    assert known is not None
    assert known["accuracy"] == pytest.approx(found.agreement.observed, abs=1e-4)
    assert known["judge"] == "rules"


def test_a_measured_judge_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path))
    judge = build_judge("rules", BUILTIN)
    result = check(judge, read_calibration("blind"), "blind")
    judge.fingerprint = "other"
    assert calibration_score("other") is None
    path = keep_score(check(judge, read_calibration("blind"), "blind"))
    assert calibration_score("other") == calibration_score(result.fingerprint)
    assert set(json.loads(path.read_text())) == {"other"}
    path.write_text("{")
    with pytest.raises(DataError, match="Delete it"):
        calibration_score("other")
