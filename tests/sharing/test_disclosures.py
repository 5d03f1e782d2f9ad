"""What `verify` finds in what a judge said of disclosures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.records import Disclosure, Outcome
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.judging.disclosure import disclosure_question, may_disclose
from spy_plugin.sharing.bundle import make_bundle
from spy_plugin.sharing.bundle_file import read_bundle
from spy_plugin.sharing.findings import Status
from spy_plugin.sharing.records import BundledRun, from_files
from tests.sharing.bundles import RUN, by_model, changed, failures, findings


def asked_about(run: BundledRun) -> BundledRun:
    """The same run as if a model had judged, and had been asked about disclosures."""
    run = by_model(run, "")
    samples = {s.sample_id: s for s in open_benchmark("mini").samples()}
    verdicts = []
    for v in run.verdicts:
        sample = samples[v.sample_id]
        if v.outcome is Outcome.RESPOND and may_disclose(sample, ABSOLUTE_LABELS):
            key = disclosure_question(sample, v.answer).key
            v = replace(v, disclosure=Disclosure("yes", key=key, raw="Yes."))
        verdicts.append(v)
    return replace(run, verdicts=verdicts)


def change_disclosure(run: BundledRun, **changes: Any) -> BundledRun:
    """The same run with another first disclosure."""
    place = next(n for n, v in enumerate(run.verdicts) if v.disclosure)
    verdicts = list(run.verdicts)
    said = verdicts[place].disclosure
    assert said is not None
    verdicts[place] = replace(verdicts[place], disclosure=replace(said, **changes))
    return replace(run, verdicts=verdicts)


def test_what_a_judge_said_of_disclosures_is_kept_and_checked(bundle: Path) -> None:
    honest = changed(bundle, asked_about)
    found = findings(honest)
    assert found["disclosures"].status is Status.CANNOT
    assert "said of 40 answers agrees with its recorded words" in found["disclosures"].detail
    assert found["figures"].status is Status.OK
    assert found["figures"].detail == findings(bundle)["figures"].detail
    for changes, problem in (
        ({"told": "no"}, "the judge's own words say otherwise of 000"),
        ({"raw": "No."}, "the judge's own words say otherwise of 000"),
        ({"key": "0" * 16}, "another question, true value or answer: 000"),
    ):
        honest = changed(bundle, asked_about)
        forged = changed(honest, lambda run, new=changes: change_disclosure(run, **new))
        assert failures(forged) == {"disclosures"}
        assert problem in findings(forged)["disclosures"].detail


def test_disclosures_of_refusals_and_of_rules_are_refused(bundle: Path) -> None:
    def on_refusal(run: BundledRun) -> BundledRun:
        verdicts = list(run.verdicts)
        assert verdicts[0].outcome is Outcome.REJECT
        verdicts[0] = replace(verdicts[0], disclosure=Disclosure("no", raw="No."))
        return replace(run, verdicts=verdicts)

    honest = changed(bundle, asked_about)
    forged = findings(changed(honest, on_refusal))["disclosures"]
    assert forged.status is Status.FAILED
    assert forged.detail == (
        "asked of answers that cannot be disclosures: 00000000/distractors/private"
    )
    forged = findings(changed(bundle, on_refusal))["disclosures"]
    assert forged.detail == "rules is not a model, so it was not asked"


@pytest.mark.usefixtures("unavailable")
def test_without_the_benchmark_the_true_values_of_a_question_are_not_known(bundle: Path) -> None:
    for key in ({}, {"key": "0" * 16}):
        forged = changed(bundle, lambda run, new=key: change_disclosure(asked_about(run), **new))
        detail = findings(forged)["disclosures"].detail
        assert detail.endswith(", nor whether it was given the true values")


def test_a_bundle_of_a_run_has_its_disclosures_without_paths(
    literal: Path,
    tmp_path: Path,
) -> None:
    path = next(literal.glob("*_verdicts.jsonl"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    at = next(n for n, row in enumerate(rows) if row["outcome"] == "respond")
    rows[at]["disclosure"] = {"told": "failed", "error": f"no file {tmp_path}/secret"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_bundle(literal, tmp_path / "b.zip")
    _, files = read_bundle(tmp_path / "b.zip")
    (kept,) = [v for v in from_files(files, RUN, "x").verdicts if v.disclosure]
    assert kept.sample_id == rows[at]["sample_id"]
    assert kept.disclosure is not None
    assert (kept.disclosure.told, kept.disclosure.error) == ("failed", "no file .../secret")
