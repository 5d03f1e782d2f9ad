"""Bundles: what they hold, what `verify` finds, and how hostile files are refused."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.records import NOT_ASKED, Disclosure, Outcome, dump_jsonl
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.cli.main import main
from spy_plugin.errors import DataError
from spy_plugin.judging.disclosure import disclosure_question, may_disclose
from spy_plugin.judging.verdict_file import StoredVerdict
from spy_plugin.runs.metadata import JudgeInfo
from spy_plugin.sharing import bundle_file, verify
from spy_plugin.sharing.bundle import make_bundle
from spy_plugin.sharing.bundle_file import read_bundle, write_bundle
from spy_plugin.sharing.findings import Finding, Status, overall
from spy_plugin.sharing.records import (
    BundledRun,
    compute_figures,
    from_files,
    table_of,
    to_files,
)
from spy_plugin.sharing.verify import verify_bundle
from tests.report.policy_runs import literal, literal_template  # noqa: F401

RUN = "runs/1"


@pytest.fixture
def bundle(literal: Path, tmp_path: Path) -> Path:  # noqa: F811
    out = tmp_path / "m.spybundle.zip"
    assert make_bundle(literal, out) == []
    return out


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not have the benchmark."""
    monkeypatch.setattr(verify, "open_known", lambda name: None)


def changed(path: Path, change: Callable[[BundledRun], BundledRun]) -> Path:
    """Change a bundle as a forger would: figures, hashes and the manifest are computed again."""
    _, files = read_bundle(path)
    run = change(from_files(files, RUN, "x"))
    run = replace(
        run, figures=compute_figures(table_of(run.judged, run.figures.absolute_labels, "x"))
    )
    forged = path.with_name("forged.zip")
    write_bundle(forged, to_files(run, RUN))
    return forged


def findings(path: Path, **options: Any) -> dict[str, Finding]:
    return {found.check: found for found in verify_bundle(path, **options)}


def failures(path: Path) -> set[str]:
    return {name for name, found in findings(path).items() if found.status is Status.FAILED}


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


def test_equal_runs_give_equal_files_without_questions(
    literal: Path,  # noqa: F811
    bundle: Path,
    tmp_path: Path,
) -> None:
    make_bundle(literal, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()
    _, files = read_bundle(bundle)
    text = b"\n".join(files.values()).decode()
    assert "What is" not in text
    assert "Keep this confidential" not in text
    assert str(tmp_path) not in text
    assert {Path(name).name for name in files} == {
        "run.json", "answers.jsonl", "verdicts.jsonl", "samples.jsonl", "figures.json"
    }  # fmt: skip


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


def by_model(run: BundledRun, raw: str) -> BundledRun:
    """The same run as if a model had judged."""
    info = JudgeInfo(name="openai:judge", fingerprint="bbbbbbbbbbbb")
    verdicts = [
        replace(v, judge=info.name, judge_fingerprint=info.fingerprint, raw=raw or v.outcome.value)
        for v in run.verdicts
    ]
    return replace(run, verdicts=verdicts, run=run.run.model_copy(update={"judge": info}))


def test_a_model_that_judged_is_checked_by_its_words(bundle: Path) -> None:
    honest = changed(bundle, lambda run: by_model(run, ""))
    found = findings(honest)["judge"]
    assert found.status is Status.CANNOT
    assert "860 of 860 verdicts agree with its recorded words" in found.detail
    forged = changed(honest, flip_one)
    found = findings(forged)["judge"]
    assert found.status is Status.FAILED
    assert "own words say otherwise of 00000000/distractors/private" in found.detail


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
    literal: Path,  # noqa: F811
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


def write_zip(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in entries:
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([("../../etc/passwd", b"x")], "is not a file of a bundle"),
        ([("/runs/1/run.json", b"x")], "is not a file of a bundle"),
        ([("runs/1/../2/run.json", b"x")], "is not a file of a bundle"),
        ([("runs/1/sub/run.json", b"x")], "is not a file of a bundle"),
        ([("runs/1/picture.png", b"x")], "is not a file of a bundle"),
        ([("runs/1/run.json", b"x"), ("runs/1/run.json", b"y")], "is a duplicate"),
        ([(link("runs/1/run.json"), b"/etc/passwd")], "is a link or another special file"),
        ([("runs/1/run.json", b"x")], "has no manifest.json"),
        ([("manifest.json", b"[" * 100_000)], "is not JSON"),
        ([("manifest.json", b'{"format": "other"}')], "\"format\" must be 'spy-bench bundle'"),
        ([("manifest.json", b'{"files": {}}')], '"spy_bench_version" is missing'),
        ([("manifest.json", b"\xff")], "is not JSON"),
        ([(f"runs/{n}/run.json", b"") for n in range(1, 1003)], "has 1,002 entries"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_entries_are_refused(entries: Any, problem: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bad.zip", *entries)
    with pytest.raises(DataError) as error:
        read_bundle(path)
    assert problem in str(error.value)
    assert str(path) in str(error.value)
    assert main(["verify", str(path)]) == 1


def test_bombs_are_bounded_before_they_are_read(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_file, "MOST_BYTES_OF_ONE", 2**20)
    path = write_zip(tmp_path / "bomb.zip", ("runs/1/run.json", b"0" * (2**20 + 1)))
    with pytest.raises(DataError, match="would take 1,048,577 bytes, beyond the limit"):
        read_bundle(path)
    monkeypatch.setattr(bundle_file, "MOST_BYTES", 2**19)
    with pytest.raises(DataError, match="beyond the limit"):
        read_bundle(bundle)


def test_a_directory_of_entries_is_bounded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "_MOST_BYTES_OF_INFO", 0)
    with pytest.raises(DataError, match=r"its list of entries takes \d{3} bytes"):
        read_bundle(bundle)
    monkeypatch.undo()
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.comment = b"x"
    with pytest.raises(DataError, match="does not end in a plain list of entries"):
        read_bundle(bundle)


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "lies.zip", ("runs/1/run.json", b"0" * 100_000))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 100_000), struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"is not a whole zip file|is not as long as"):
        read_bundle(path)


def test_other_files_and_damaged_ones_are_refused(bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.zip"
    text.write_text("no zip")
    assert "is not a whole zip file" in findings(text)["file"].detail
    missing = findings(tmp_path / "none.zip")["file"].detail
    assert missing.endswith("cannot be read (No such file or directory). Check the path.")
    torn = tmp_path / "torn.zip"
    torn.write_bytes(bundle.read_bytes()[:30_000])
    assert findings(torn)["file"].status is Status.FAILED


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("verdicts.jsonl", b"[1]\n", "line 1: a JSON list, not an object"),
        ("verdicts.jsonl", b'{"sample_id": 1}\n', "line 1: not a valid verdict"),
        ("verdicts.jsonl", b'{"a":' * 5000 + b"\n", "line 1: not JSON"),
        ("verdicts.jsonl", b'{"a":' * 500 + b"1" + b"}" * 500 + b"\n", "line 1: is nested too"),
        ("answers.jsonl", b"\xff\n", "line 1: not UTF-8"),
        ("figures.json", b'{"level": NaN}', "NaN is not a JSON number"),
        ("figures.json", b"{}", '"resamples" is missing'),
        ("run.json", b"null", "run.json: "),
    ],
)
def test_broken_records_are_named(
    name: str, line: bytes, problem: str, bundle: Path, tmp_path: Path
) -> None:
    _, files = read_bundle(bundle)
    write_bundle(tmp_path / "bad.zip", files | {f"{RUN}/{name}": line})
    found = findings(tmp_path / "bad.zip")["records"]
    assert found.status is Status.FAILED
    assert found.detail.startswith(f"bad.zip: {RUN}/{name}")
    assert problem in found.detail


def test_too_many_resamples_are_not_drawn(bundle: Path) -> None:
    def change(run: BundledRun) -> BundledRun:
        return run

    _, files = read_bundle(changed(bundle, change))
    claimed = json.loads(files[f"{RUN}/figures.json"])
    claimed["resamples"] = 10**9
    files[f"{RUN}/figures.json"] = json.dumps(claimed).encode()
    write_bundle(bundle, files)
    assert "less than or equal to 100000" in findings(bundle)["records"].detail


def test_control_characters_do_not_reach_the_terminal(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(run: BundledRun) -> BundledRun:
        first = replace(run.verdicts[0], sample_id="\x1b[31m\x9b2J")
        about = run.run.model_copy(update={"model": "m\x1b[2J\nok"})
        return replace(run, verdicts=[first, *run.verdicts[1:]], run=about)

    assert main(["verify", str(changed(bundle, change))]) == 1
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_nothing_is_overwritten_without_force(
    literal: Path,  # noqa: F811
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = bundle.read_bytes()
    words = ["bundle", str(literal), "--out", str(bundle)]
    assert main(words) == 1
    assert "exists. Name another file, or replace it with --force." in capsys.readouterr().err
    bundle.write_text("old")
    assert main([*words, "--force"]) == 0
    assert bundle.read_bytes() == before


def test_a_run_on_other_data_is_refused(literal: Path, tmp_path: Path) -> None:  # noqa: F811
    out = str(tmp_path / "x.zip")
    assert main(["bundle", str(literal), "--lab", "--out", out]) == 1
    (verdicts,) = literal.glob("*_verdicts.jsonl")
    bare = tmp_path / "bare.jsonl"
    bare.write_text(verdicts.read_text())
    assert main(["bundle", str(bare), "--out", out]) == 1


def test_a_partial_run_says_what_was_not_asked(literal: Path, tmp_path: Path) -> None:  # noqa: F811
    (answers,) = literal.glob("*_answers.jsonl")
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[:100]))
    for path in [*literal.glob("*_verdicts.jsonl"), *literal.glob("*_spy.json")]:
        path.unlink()
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    make_bundle(literal, tmp_path / "x.zip")
    found = findings(tmp_path / "x.zip")
    assert found.pop("samples").status is Status.CANNOT
    assert {each.status for each in found.values()} == {Status.OK}
    assert main(["verify", str(tmp_path / "x.zip")]) == 2


def test_a_host_without_answers_is_said(literal: Path, tmp_path: Path) -> None:  # noqa: F811
    (answers,) = literal.glob("*_answers.jsonl")
    answers.unlink()
    (remark,) = make_bundle(literal, tmp_path / "x.zip")
    assert remark == (
        "spy-literal on SPYBench_MINI: its host kept no file of answers that can be checked"
    )
    assert findings(tmp_path / "x.zip")["answers"].status is Status.CANNOT


def test_a_record_that_names_no_answers_has_none(literal: Path, tmp_path: Path) -> None:  # noqa: F811
    (record,) = literal.glob("*_spy.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"answers": ""}))
    (remark,) = make_bundle(literal, tmp_path / "x.zip")
    assert remark.endswith("its host kept no file of answers that can be checked")


@pytest.mark.parametrize("option", [("--resamples", "100001"), ("--seed", str(2**33))])
def test_what_a_bundle_cannot_hold_is_refused_before_anything_is_read(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.zip"
    assert main(["bundle", str(tmp_path), "--out", str(out), *option]) == 1
    assert "a bundle takes at most 100,000 resamples, and seeds up to 4,294,967,296" in (
        capsys.readouterr().err
    )
    assert not out.exists()


def test_names_cannot_look_like_checks(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(run: BundledRun) -> BundledRun:
        first = replace(run.verdicts[0], sample_id="x\n  judge     ok\nbundle: ok")
        about = run.run.model_copy(update={"model": "m\n  figures   ok\nbundle: ok"})
        return replace(run, verdicts=[first, *run.verdicts[1:]], run=about)

    assert main(["verify", str(changed(bundle, change))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("bundle:")] == ["bundle: failed"]
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        "hashes", "samples", "items", "answers", "benchmark", "judge", "figures"
    ]  # fmt: skip


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


def test_paths_in_errors_are_cut(literal: Path, tmp_path: Path) -> None:  # noqa: F811
    (verdicts,) = literal.glob("*_verdicts.jsonl")
    (answers,) = literal.glob("*_answers.jsonl")
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    rows[0] |= {"response": "", "outcome": "failed", "error": "no /home/someone/secret/a.png"}
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdicts.unlink()
    assert main(["judge", str(answers), "--mini", "--judge", "rules"]) == 0
    make_bundle(literal, tmp_path / "x.zip")
    _, files = read_bundle(tmp_path / "x.zip")
    assert b"someone" not in b"".join(files.values())
    assert dump_jsonl(from_files(files, RUN, "x").verdicts).count('"outcome": "failed"') == 1
