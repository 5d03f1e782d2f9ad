"""What `verify` finds in honest and in forged bundles."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import NOT_ASKED, Outcome
from spy_plugin.cli.main import main
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.runs.metadata import JudgeInfo
from spy_plugin.sharing.bundle_file import read_bundle, write_bundle
from spy_plugin.sharing.findings import Status, overall
from spy_plugin.sharing.records import BundledRun
from tests.sharing.bundles import RUN, by_model, changed, failures, findings


def test_an_honest_bundle_is_ok(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(bundle)
    assert list(found) == [
        "hashes", "samples", "items", "answers", "benchmark", "judge", "figures"
    ]  # fmt: skip
    assert {each.status for each in found.values()} == {Status.OK}
    assert "(privacy score 54.60)" in found["figures"].detail
    assert main(["verify", str(bundle)]) == 0
    shown = capsys.readouterr().out
    assert "judge     ok                 rules, run again, says the same of all 860" in shown
    assert "Not shown by any check" in shown


def drop(run: BundledRun, sample_id: str) -> BundledRun:
    """Leave a sample out everywhere, and change the record's number of samples."""
    assert run.answers is not None
    assert run.samples is not None
    return replace(
        run,
        verdicts=[v for v in run.verdicts if v.sample_id != sample_id],
        answers=[a for a in run.answers if a.sample_id != sample_id],
        samples=[s for s in run.samples if s.sample_id != sample_id],
        run=run.run.model_copy(update={"samples": len(run.verdicts) - 1}),
    )


@pytest.mark.parametrize("place", [0, 2, 859])
def test_a_dropped_sample_is_found(bundle: Path, place: int) -> None:
    def change(run: BundledRun) -> BundledRun:
        return drop(run, run.verdicts[place].sample_id)

    found = findings(changed(bundle, change))["benchmark"]
    assert found.status is Status.FAILED
    assert "left out: " in found.detail


@pytest.mark.usefixtures("unavailable")
def test_without_the_benchmark_a_dropped_side_is_found(bundle: Path) -> None:
    forged = changed(bundle, lambda run: drop(run, run.verdicts[0].sample_id))
    assert findings(forged)["items"].detail == (
        "only one side, public or private, of item 00000000"
    )
    whole = findings(bundle)
    assert whole["items"].status is Status.OK
    assert whole["benchmark"].status is Status.CANNOT
    assert "Whether a whole item was left out is not known" in whole["benchmark"].detail
    assert overall(list(whole.values())) is Status.CANNOT
    assert main(["verify", str(bundle)]) == 2


def test_a_dropped_verdict_alone_is_found(bundle: Path) -> None:
    forged = changed(bundle, lambda run: replace(run, verdicts=run.verdicts[:-1]))
    found = findings(forged)["samples"]
    assert found.status is Status.FAILED
    assert "859 verdicts, but the record says 860 samples" in found.detail


def flip(verdict: StoredVerdict) -> StoredVerdict:
    other = Outcome.RESPOND if verdict.outcome is Outcome.REJECT else Outcome.REJECT
    return replace(verdict, outcome=other)


def flip_one(run: BundledRun) -> BundledRun:
    return replace(run, verdicts=[flip(run.verdicts[0]), *run.verdicts[1:]])


def test_a_changed_verdict_is_found_though_all_hashes_fit(bundle: Path) -> None:
    forged = changed(bundle, flip_one)
    assert failures(forged) == {"judge"}
    found = findings(forged)
    assert found["judge"].detail == (
        "rules, run again, says otherwise of 00000000/distractors/private"
    )
    assert main(["verify", str(forged)]) == 1


@pytest.mark.parametrize("outcome", [Outcome.UNJUDGED, Outcome.FAILED])
def test_a_verdict_that_was_taken_out_of_the_figures_is_found(
    outcome: Outcome, bundle: Path
) -> None:
    def change(run: BundledRun) -> BundledRun:
        answer = "" if outcome is Outcome.FAILED else run.verdicts[0].answer
        first = replace(run.verdicts[0], outcome=outcome, answer=answer, error="no reply")
        return replace(run, verdicts=[first, *run.verdicts[1:]])

    assert failures(changed(bundle, change)) == {"judge"}


def test_a_sample_that_says_it_was_not_asked_is_no_silence(bundle: Path) -> None:
    def change(run: BundledRun) -> BundledRun:
        assert run.answers is not None
        first = replace(run.verdicts[0], outcome=Outcome.FAILED, answer="", error=NOT_ASKED)
        return replace(run, verdicts=[first, *run.verdicts[1:]], answers=run.answers[1:])

    found = findings(changed(bundle, change))["samples"]
    assert found.status is Status.CANNOT
    assert "1 say that they were not asked" in found.detail


def test_failed_answers_are_counted_and_bounded(bundle: Path) -> None:
    def change(run: BundledRun) -> BundledRun:
        assert run.answers is not None
        answer = replace(run.answers[0], response="", outcome=Outcome.FAILED, error="no reply")
        first = replace(run.verdicts[0], outcome=Outcome.FAILED, answer="", error="no reply")
        return replace(run, verdicts=[first, *run.verdicts[1:]], answers=[answer, *run.answers[1:]])

    found = findings(changed(bundle, change))
    assert found["answers"].detail.endswith("; 1 failed and 0 were filtered")
    # The other side of its pair is wrong already, so the missing one cannot make it right.
    assert found["figures"].detail.endswith(
        "(privacy score 54.86; 54.60 to 54.60 for any missing verdicts)"
    )


@pytest.mark.usefixtures("unavailable")
def test_without_questions_the_rules_still_find_it(bundle: Path) -> None:
    assert findings(changed(bundle, flip_one))["judge"].status is Status.FAILED
    honest = findings(bundle)["judge"]
    assert honest.status in (Status.OK, Status.CANNOT)
    assert "the rules say the same of" in honest.detail


def test_a_model_that_judged_is_checked_by_its_words(bundle: Path) -> None:
    honest = changed(bundle, lambda run: by_model(run, ""))
    found = findings(honest)["judge"]
    assert found.status is Status.CANNOT
    assert "860 of 860 verdicts agree with its recorded words" in found.detail
    forged = changed(honest, flip_one)
    found = findings(forged)["judge"]
    assert found.status is Status.FAILED
    assert "own words say otherwise of 00000000/distractors/private" in found.detail


def test_verdicts_must_fit_their_answers(bundle: Path) -> None:
    def other_text(run: BundledRun) -> BundledRun:
        first = replace(run.verdicts[0], answer="It is 12.", outcome=Outcome.RESPOND)
        return replace(run, verdicts=[first, *run.verdicts[1:]])

    assert failures(changed(bundle, other_text)) == {"answers", "judge"}

    def filtered(run: BundledRun) -> BundledRun:
        first = replace(run.verdicts[0], answer="", outcome=Outcome.FILTERED)
        return replace(run, verdicts=[first, *run.verdicts[1:]])

    assert failures(changed(bundle, filtered)) == {"answers", "judge"}

    def unanswered(run: BundledRun) -> BundledRun:
        assert run.answers is not None
        return replace(run, answers=run.answers[1:])

    assert failures(changed(bundle, unanswered)) == {"answers"}


def test_a_changed_label_side_or_judge_is_found(bundle: Path) -> None:
    def set_first(**fields: Any) -> Callable[[BundledRun], BundledRun]:
        return lambda run: replace(
            run, verdicts=[replace(run.verdicts[0], **fields), *run.verdicts[1:]]
        )

    assert failures(changed(bundle, set_first(label="a49_phone"))) == {"benchmark"}
    assert "benchmark" in failures(changed(bundle, set_first(image_path="other.png")))
    assert failures(changed(bundle, set_first(judge="other"))) == {"judge"}


def without_absolute(run: BundledRun) -> BundledRun:
    return replace(run, figures=run.figures.model_copy(update={"absolute_labels": ()}))


def test_labels_that_are_no_longer_absolute_are_found(bundle: Path) -> None:
    found = findings(changed(bundle, without_absolute))
    assert found["benchmark"].detail == "other absolute labels"
    assert found["figures"].status is Status.OK


@pytest.mark.usefixtures("unavailable")
def test_and_so_they_are_without_the_benchmark(bundle: Path) -> None:
    found = findings(changed(bundle, without_absolute))["benchmark"]
    assert found.detail == "other absolute labels than those of mini"


def test_figures_are_computed_again(bundle: Path) -> None:
    _, files = read_bundle(bundle)
    claimed = json.loads(files[f"{RUN}/figures.json"])
    claimed["figures"]["privacy score"]["score"] = 64.6
    files[f"{RUN}/figures.json"] = json.dumps(claimed).encode()
    forged = bundle.with_name("forged.zip")
    write_bundle(forged, files)
    found = findings(forged)["figures"]
    assert found.detail == (
        "the verdicts give other figures: figures privacy score score (64.60, found 54.60)"
    )


def test_a_changed_file_breaks_its_hash(bundle: Path) -> None:
    forged = bundle.with_name("forged.zip")
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(forged, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("verdicts.jsonl"):
                content = content.replace(b'"reject"', b'"respond"', 1)
            new.writestr(info, content)
    assert f"extra: {RUN}/verdicts.jsonl" in findings(forged)["hashes"].detail
    assert {"hashes", "judge", "figures"} <= failures(forged)


def test_a_judge_at_two_addresses_that_the_record_names_is_one_judge(bundle: Path) -> None:
    servers = ["http://a.example/v1", "http://b.example/v1"]

    def change(run: BundledRun, named: list[str]) -> BundledRun:
        name, own = "openai:m", "f" * 12
        moved = [
            replace(
                verdict,
                judge=name,
                judge_server=servers[place % 2],
                judge_fingerprint=(own, "e" * 12)[place % 2],
            )
            for place, verdict in enumerate(run.verdicts)
        ]
        judge = JudgeInfo(name=name, fingerprint=own, servers=named)
        return replace(run, verdicts=moved, run=run.run.model_copy(update={"judge": judge}))

    both = changed(bundle, lambda run: change(run, servers))
    assert findings(both)["judge"].status is Status.CANNOT
    one = changed(bundle, lambda run: change(run, servers[:1]))
    assert findings(one)["judge"].status is Status.FAILED
