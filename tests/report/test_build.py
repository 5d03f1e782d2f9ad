"""Matching, merging, intervals and comparisons of the report, and its published schema."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from spy_plugin.benchmark.records import Outcome, Verdict
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.writing import FileLock
from spy_plugin.report import ReportOptions, build_report, combine
from spy_plugin.report.model import SCHEMA_FILE, Report, Row, schema
from spy_plugin.runs.metadata import JudgeInfo
from spy_plugin.scoring.agreement import agreement
from spy_plugin.scoring.metrics import ATA_CONFLICT, HMS, ICS, METRICS, RTA, compute
from spy_plugin.scoring.stats import LEAKAGE, OVER_REFUSAL, PRIVACY, bounds, estimates
from spy_plugin.scoring.table import tabulate
from tests.report.made_up import (
    NOON,
    verdicts,
    write_lmms_general,
    write_run,
    write_vlmeval_general,
    write_vlmeval_items,
)

QUICK = ReportOptions(resamples=200)


def row(report: Report, model: str) -> Row:
    """Return the only measured row of a model."""
    (found,) = [row for row in report.rows if row.model == model and not row.computed]
    return found


def test_figures_intervals_and_bounds_are_those_of_the_core(tmp_path: Path) -> None:
    found = verdicts(items=60)
    write_run(tmp_path, "m", found)
    shown = row(build_report([tmp_path], QUICK), "m")
    table = tabulate(found)
    expected, limits, figures = estimates(table, resamples=200), bounds(table), compute(table)
    for name, estimate in expected.items():
        got = shown.figures[name]
        assert (got.score, got.low, got.high) == (estimate.score, estimate.low, estimate.high)
        assert (got.worst, got.best) == limits[name]
    for label, block in figures["by_label"].items():
        counts = {metric: (figure.hits, figure.n) for metric, figure in shown.labels[label].items()}
        assert counts == {
            metric: (block[metric]["expected"], block[metric]["all"])
            for metric in METRICS
            if block[metric]["all"]
        }
    assert shown.confusion[ICS] == {c: figures["metrics"][ICS][c] for c in ("n1", "n2", "n3", "n4")}
    assert shown.counts is not None
    assert shown.counts.outcomes == figures["outcomes"]


def test_leakage_and_over_refusal_count_judged_samples(tmp_path: Path) -> None:
    found = verdicts(items=60, right=1.0)
    spoiled = [
        replace(v, outcome=Outcome.REJECT) if v.outcome is Outcome.RESPOND else v for v in found
    ]
    write_run(tmp_path, "m", spoiled)
    figures = row(build_report([tmp_path], QUICK), "m").figures
    assert figures[OVER_REFUSAL].score == 100
    assert figures[LEAKAGE].hits is not None
    assert figures[LEAKAGE].n is not None


def test_overall_combines_both_hosts_through_the_registry(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "Qwen2-VL-7B-Instruct", verdicts(items=40))
    write_lmms_general(tmp_path / "b" / "Qwen__Qwen2-VL-7B-Instruct", "Qwen/Qwen2-VL-7B-Instruct")
    report = build_report([tmp_path / "a", tmp_path / "b"], QUICK)
    (shown,) = [r for r in report.rows if not r.computed]
    privacy, general = shown.figures[PRIVACY].score, shown.figures["general"].score
    assert privacy is not None
    assert general == pytest.approx((50 + 70 + 1900 / 28) / 3)
    assert shown.figures["overall"].score == pytest.approx(
        2 * privacy * general / (privacy + general)
    )
    assert shown.figures["overall"].conditional
    assert len(shown.names) == 2


def test_name_option_matches_what_the_registry_does_not_know(tmp_path: Path) -> None:
    write_run(tmp_path / "a", "checkpoint-500", verdicts(items=20))
    write_vlmeval_general(tmp_path / "b", "step500")
    names = {tmp_path / "a": "mine", tmp_path / "b": "mine"}
    report = build_report([tmp_path / "a", tmp_path / "b"], replace(QUICK, names=names))
    assert row(report, "mine").figures["overall"].score is not None


def test_item_resamples_make_the_overall_interval_unconditional(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=40))
    write_vlmeval_items(tmp_path, "m")
    figures = row(build_report([tmp_path], QUICK), "m").figures
    assert not figures["overall"].conditional
    assert figures["general"].low < figures["general"].score < figures["general"].high
    held = row(build_report([tmp_path], QUICK), "m").general
    assert all(figure.low < figure.score < figure.high for figure in held.values())


def test_general_scores_that_were_not_run_are_no_zero(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=20))
    write_vlmeval_general(tmp_path, "m")
    (tmp_path / "m_MME_score.csv").unlink()
    shown = row(build_report([tmp_path], QUICK), "m")
    assert set(shown.general) == {"mmmu", "ocrbench"}
    assert shown.figures["general"].score is None
    assert shown.figures["overall"].score is None


def test_model_with_general_scores_only_has_a_row(tmp_path: Path) -> None:
    write_vlmeval_general(tmp_path, "m")
    shown = row(build_report([tmp_path], QUICK), "m")
    assert shown.counts is None
    assert shown.figures["general"].score is not None


def test_newest_of_two_results_wins_and_the_report_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "new", "m", verdicts(items=20, right=0.9), finished=NOON)
    earlier = NOON - timedelta(days=1)
    write_run(tmp_path / "old", "m", verdicts(items=20, right=0.1), finished=earlier)
    write_vlmeval_general(tmp_path / "old", "m", mmmu=0.9, updated=NOON)
    write_vlmeval_general(tmp_path / "new", "m", mmmu=0.1, updated=earlier)
    report = build_report([tmp_path / "new", tmp_path / "old"], QUICK)
    shown = row(report, "m")
    assert shown.source == "new/m_SPYBench_MINI_verdicts.jsonl"
    assert shown.general["mmmu"].score == 90
    assert len(report.notes) == 4
    assert all("the newest counts" in note for note in report.notes)


def test_of_two_results_of_one_time_the_note_names_the_one_that_counts(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_run(tmp_path / name, "m", verdicts(items=20), finished=NOON)
    report = build_report([tmp_path / "b", tmp_path / "a"], QUICK)
    counted = row(report, "m").source
    assert f"the newest counts, {counted} (" in report.notes[0]


def test_one_run_given_twice_is_no_conflict(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=10))
    assert build_report([tmp_path, tmp_path], QUICK).notes == []


def test_conditions_and_judges_are_rows_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "1", "m", verdicts(items=20))
    write_run(tmp_path / "2", "m", verdicts(items=20), variant="no_distractors")
    write_run(tmp_path / "3", "m", verdicts(items=20), self_moderation=True)
    other = JudgeInfo(name="gpt", fingerprint="b")
    write_run(tmp_path / "4", "m", verdicts(items=20, seed=1), judge=other)
    report = build_report([tmp_path], QUICK)
    ids = [r.id for r in report.rows if r.model == "m"]
    assert len(ids) == len(set(ids)) == 4
    assert report.notes == []


def test_the_run_without_self_moderation_has_the_plain_name(tmp_path: Path) -> None:
    write_run(tmp_path / "1", "m", verdicts(items=20), self_moderation=True)
    write_run(tmp_path / "2", "m", verdicts(items=20))
    rows = {
        r.id: r.condition.self_moderation
        for r in build_report([tmp_path], QUICK).rows
        if r.model == "m"
    }
    assert rows.pop("m") is False
    assert list(rows.values()) == [True]
    assert "self-moderation" in next(iter(rows))


def test_agreement_of_two_judges_is_cohens_kappa(tmp_path: Path) -> None:
    # 20 both respond, 15 both reject, 5 and 10 differ: agreement 0.7, chance 0.5, kappa 0.4.
    words = (
        ["respond"] * 25 + ["reject"] * 25,
        ["respond"] * 20 + ["reject"] * 5 + ["respond"] * 10 + ["reject"] * 15,
    )

    def judged(outcomes: list[str]) -> list[Verdict]:
        return [
            replace(v, outcome=Outcome(word))
            for v, word in zip(verdicts(items=10), outcomes, strict=True)
        ]

    write_run(tmp_path / "1", "m", judged(words[0]))
    other = JudgeInfo(name="gpt", fingerprint="b")
    write_run(tmp_path / "2", "m", judged(words[1]), judge=other)
    report = build_report([tmp_path], QUICK)
    (found,) = report.agreements
    assert found.n == 50
    assert found.agree == pytest.approx(70)
    assert found.kappa == pytest.approx(0.4)
    kinds = {e.kind for r in report.rows for e in r.examples}
    assert "judges differ" in kinds


def test_a_report_and_judge_check_say_the_same_kappa(tmp_path: Path) -> None:
    rng = random.Random(3)
    first = [rng.choice(list(Outcome)) for _ in range(50)]
    second = [a if rng.random() < 0.7 else rng.choice(list(Outcome)) for a in first]
    for name, outcomes, judge in (("1", first, "gpt"), ("2", second, "rules")):
        judged = [replace(v, outcome=o) for v, o in zip(verdicts(items=10), outcomes, strict=True)]
        about = JudgeInfo(name=judge, fingerprint=judge)
        write_run(tmp_path / name, "m", judged, judge=about)
    (found,) = build_report([tmp_path], QUICK).agreements
    expected = agreement(first, second)
    assert (found.n, found.kappa) == (expected.n, expected.kappa)
    assert found.agree == pytest.approx(100 * (expected.observed or 0))
    assert sum(found.table.values()) == 50


def test_reference_policies_follow_from_the_samples(tmp_path: Path) -> None:
    found = verdicts(items=67, missing=0)
    write_run(tmp_path, "m", found)
    computed = {r.model: r.figures for r in build_report([tmp_path], QUICK).rows if r.computed}
    assert set(computed) == {"spy-always-answer", "spy-always-refuse", "spy-literal", "spy-oracle"}
    assert all(computed["spy-oracle"][name].score == 100 for name in (ICS, HMS, PRIVACY))
    assert computed["spy-always-answer"][LEAKAGE].score == 100
    assert computed["spy-always-answer"][OVER_REFUSAL].score == 0
    assert computed["spy-literal"][RTA].score == 100
    # Five of 67 labels expect a refusal in a conflict scenario, where a literal model refuses.
    assert computed["spy-literal"][ATA_CONFLICT].score == pytest.approx(500 / 67)


def test_policy_that_was_run_replaces_the_computed_one(tmp_path: Path) -> None:
    write_run(tmp_path, "spy-oracle", verdicts(items=20, right=2, missing=0))
    rows = [r for r in build_report([tmp_path], QUICK).rows if r.model == "spy-oracle"]
    assert [r.computed for r in rows] == [False]
    assert rows[0].yardstick


def test_two_models_are_compared_label_by_label(tmp_path: Path) -> None:
    write_run(tmp_path, "good", verdicts(items=120, right=0.95))
    write_run(tmp_path, "poor", verdicts(items=120, right=0.2, seed=1))
    report = build_report([tmp_path], replace(QUICK, compare=[("good", "poor")]))
    overall = {d.metric: d for d in report.differences if not d.label}
    assert overall[PRIVACY].difference > 30
    assert overall[PRIVACY].p < 0.01
    assert overall[PRIVACY].low > 0
    labels = [d for d in report.differences if d.label]
    assert len({d.label for d in labels}) == 67
    assert all(d.p_corrected >= d.p for d in labels)
    with pytest.raises(SpyBenchError, match="no row is named 'nobody'"):
        build_report([tmp_path], replace(QUICK, compare=[("good", "nobody")]))


def test_examples_show_each_way_to_go_wrong_with_the_answer(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=100, missing=0.1))
    examples = row(build_report([tmp_path], QUICK), "m").examples
    assert {e.kind for e in examples} == {
        "leakage",
        "over-refusal",
        "unjudged",
        "filtered",
        "failed",
    }
    assert all(e.answer.startswith("Made-up answer") for e in examples)
    assert all(e.outcome != e.expected for e in examples)


def test_prompts_and_pictures_come_from_the_benchmark_on_request(tmp_path: Path) -> None:
    from spy_plugin.benchmark.records import verdict_of
    from spy_plugin.benchmarks import open_benchmark

    samples = list(open_benchmark("mini").samples())
    found = [verdict_of(sample, Outcome.REJECT) for sample in samples]
    write_run(tmp_path, "m", found, benchmark="mini")
    without = row(build_report([tmp_path], QUICK), "m").examples
    assert all("\n\n" in e.prompt and e.picture == "" for e in without)
    shown = row(build_report([tmp_path], replace(QUICK, pictures=True)), "m").examples
    assert all(e.picture.startswith("data:image/jpeg;base64,") for e in shown)


def test_json_validates_against_the_published_schema(tmp_path: Path) -> None:
    write_run(tmp_path, "a", verdicts(items=30))
    write_run(tmp_path, "b", verdicts(items=30, seed=1), host_remark="kept")
    write_vlmeval_items(tmp_path, "a")
    report = build_report([tmp_path], QUICK)
    published = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(published)
    content = json.loads(report.to_json())
    jsonschema.validate(content, published)
    assert content["schema_version"] == 1
    assert Report.model_validate(content) == report
    content["rows"][0]["figures"]["privacy score"]["score"] = "high"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, published)


def test_published_schema_is_that_of_the_classes() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == schema(), "run report.model.write_schema()"


def test_equal_input_and_seed_give_equal_figures(tmp_path: Path) -> None:
    write_run(tmp_path, "m", verdicts(items=30))
    assert build_report([tmp_path], QUICK).rows == build_report([tmp_path], QUICK).rows


def test_a_row_is_not_compared_with_itself(tmp_path: Path) -> None:
    write_run(tmp_path, "good", verdicts(items=3))
    with pytest.raises(SpyBenchError, match="good and good are one row of this report"):
        build_report([tmp_path], replace(QUICK, compare=[("good", "good")]))


def test_two_reports_are_not_mixed_in_one_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "m", verdicts(items=3))
    out = tmp_path / "out"
    out.mkdir()
    with (
        FileLock(out / "report.json"),
        pytest.raises(DataError, match="is being written by another run"),
    ):
        combine([tmp_path / "run"], out, QUICK)
    assert not list(out.iterdir())
    combine([tmp_path / "run"], out, QUICK)
    assert (out / "report.json").is_file()
    assert not list(out.glob(".*.lock"))


def test_a_report_that_is_stopped_leaves_the_earlier_one_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    write_run(tmp_path / "run", "m", verdicts(items=3))
    combine([tmp_path / "run"], out, QUICK)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write_run(tmp_path / "run", "other", verdicts(items=3))
    for slow in ("render.plot_files.render", "render.html.render", "browser.write.find_pictures"):
        with monkeypatch.context() as stopping:
            stopping.setattr(f"spy_plugin.report.{slow}", stop)
            with pytest.raises(KeyboardInterrupt):
                combine([tmp_path / "run"], out, QUICK)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    combine([tmp_path / "run"], out, QUICK)
    for name in ("report.json", "report.md", "report.html", "samples/data/index.js"):
        assert b"other" in (out / name).read_bytes()
