"""What the file beside verdicts says about them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS, LABELS
from spy_plugin.benchmark.records import Outcome, Verdict, dump_jsonl
from spy_plugin.benchmarks import LAB, MINI, OFFICIAL, UNPINNED
from spy_plugin.cli.main import main
from spy_plugin.errors import DataError
from spy_plugin.judging.metadata import judged_run_file, labels_of_run
from spy_plugin.report.loading import load
from spy_plugin.report.results import PrivacyResult
from spy_plugin.runs.metadata import JudgeInfo, ProtocolInfo, RunMetadata


def run_on(benchmark: str, **changed: Any) -> RunMetadata:
    return RunMetadata(
        host="spy-bench",
        dataset="SPYBench_DISTRACTORS",
        model="m",
        variant="distractors",
        benchmark=benchmark,
        data_fingerprint="0" * 12,
        samples=1,
        judge=JudgeInfo(name="rules"),
        protocol=ProtocolInfo(name="official", fingerprint="0" * 12, **changed),
    )


@pytest.mark.parametrize("benchmark", [OFFICIAL, MINI])
def test_a_pinned_benchmark_has_the_labels_of_the_paper(benchmark: str) -> None:
    paper = {"absolute_labels": ABSOLUTE_LABELS, "known_labels": LABELS}
    assert labels_of_run(run_on(benchmark)) == labels_of_run(None) == paper


@pytest.mark.parametrize("benchmark", [UNPINNED, LAB, "own:shop@0123"])
def test_another_may_have_other_labels(benchmark: str) -> None:
    run = run_on(benchmark, absolute_labels=["b2_till"])
    assert labels_of_run(run) == {"absolute_labels": {"b2_till"}, "known_labels": None}


@pytest.mark.parametrize(("benchmark", "taken"), [(UNPINNED, True), (OFFICIAL, False)])
def test_score_and_report_take_the_same_labels(
    tmp_path: Path, benchmark: str, taken: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m_SPYBench_DISTRACTORS_verdicts.jsonl"
    names = ("1", "b2_till", 0, None, "q", "x.jpg")
    path.write_text(dump_jsonl([Verdict("1/distractors/public", *names, Outcome.RESPOND)]))
    run = run_on(benchmark)
    run.write(judged_run_file(path))
    result = PrivacyResult("m", path, datetime.now(timezone.utc), run)
    assert (main(["score", str(path)]) == 0) == taken
    assert ("unknown label 'b2_till'" in capsys.readouterr().err) != taken
    if taken:
        assert load(result).table.labels == ("b2_till",)
    else:
        with pytest.raises(DataError, match="unknown label 'b2_till'"):
            load(result)
