"""Bundles: what they hold, and what cannot be made one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import dump_jsonl
from spy_plugin.cli.main import main
from spy_plugin.sharing.bundle import make_bundle
from spy_plugin.sharing.bundle_file import read_bundle
from spy_plugin.sharing.findings import Status
from spy_plugin.sharing.records import from_files
from tests.sharing.bundles import RUN, findings


def test_equal_runs_give_equal_files_without_questions(
    literal: Path,
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


def test_nothing_is_overwritten_without_force(
    literal: Path,
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


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it takes no files")
def test_a_place_that_takes_no_files_is_named_as_it_was_given(
    literal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", str(literal), "--out", "/proc/m.zip"]) == 1
    assert capsys.readouterr().err.endswith(
        "error: /proc/m.zip: No such file or directory. Check the path, its permissions and the "
        "room on its disk.\n"
    )


def test_a_run_on_other_data_is_refused(literal: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "x.zip")
    assert main(["bundle", str(literal), "--lab", "--out", out]) == 1
    (verdicts,) = literal.glob("*_verdicts.jsonl")
    bare = tmp_path / "bare.jsonl"
    bare.write_text(verdicts.read_text())
    assert main(["bundle", str(bare), "--out", out]) == 1


def test_a_partial_run_says_what_was_not_asked(literal: Path, tmp_path: Path) -> None:
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


def test_a_host_without_answers_is_said(literal: Path, tmp_path: Path) -> None:
    (answers,) = literal.glob("*_answers.jsonl")
    answers.unlink()
    (remark,) = make_bundle(literal, tmp_path / "x.zip")
    assert remark == (
        "spy-literal on SPYBench_MINI: its host kept no file of answers that can be checked"
    )
    assert findings(tmp_path / "x.zip")["answers"].status is Status.CANNOT


def test_a_record_that_names_no_answers_has_none(literal: Path, tmp_path: Path) -> None:
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


def test_paths_in_errors_are_cut(literal: Path, tmp_path: Path) -> None:
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
