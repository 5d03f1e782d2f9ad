"""New forms, the example, and what else is written of a form."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.benchmark.own_form import read_form
from spy_plugin.benchmarks import open_own
from spy_plugin.cli.main import main
from spy_plugin.data.export import export
from spy_plugin.judging import load_verdicts
from spy_plugin.own.checking import check
from spy_plugin.own.writing import STARTER, form_text, pictures_in
from spy_plugin.scoring.metrics import ATA_CONFLICT, HMS, ICS, RTA
from tests.own.conftest import Write


def test_a_new_form_lacks_only_what_a_person_must_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "my photos"
    (photos / "day 2").mkdir(parents=True)
    for name in ("b.JPG", "a.png", "day 2/c.webp"):
        Image.new("RGB", (9, 9)).save(photos / name)
    (photos / "notes.txt").write_text("no picture")
    folder = tmp_path / "bench"
    assert main(["new", str(folder), "--pictures", str(photos)]) == 0
    form = read_form(folder)
    assert form.content is not None
    assert form.filled.model_copy(update={"pictures": "."}) == STARTER
    assert form.filled.pictures == "../my photos"
    assert [(row.id, row.picture) for row in form.rows] == [
        ("q0001", "a.png"),
        ("q0002", "b.JPG"),
        ("q0003", "day 2/c.webp"),
    ]
    missing = [str(problem).partition(": ")[2] for problem in form.problems]
    assert missing == ["label and question and ground_truth are empty"] * 3
    (folder / "items.csv").write_text("mine")
    assert main(["new", str(folder), "--pictures", str(photos)]) == 1
    assert "already exists. Name another folder, or add --force." in capsys.readouterr().err
    assert (folder / "items.csv").read_text() == "mine"
    assert main(["new", str(folder), "--pictures", str(photos), "--force"]) == 0
    assert main(["new", str(folder), "--pictures", str(tmp_path / "none")]) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_pictures_with_text_of_every_kind_survive_the_form(write: Write) -> None:
    folder = write()
    form = read_form(folder)
    assert form.content is not None
    (folder / "benchmark.yaml").write_text(form_text(form.content), encoding="utf-8")
    assert read_form(folder).content == form.content


def test_the_example_runs_at_once_with_known_figures(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(example).problems == ()
    benchmark = open_own(example)
    assert benchmark.name == "own:example@a0b2c41d"
    assert (len(benchmark.items), len(list(benchmark.samples()))) == (12, 60)
    named, answers = ("--benchmark", str(example)), tmp_path / "l_answers.jsonl"
    words = ("--backend", "policy", "--model", "spy-literal", "--out", str(answers))
    assert main(["generate", *named, *words]) == 0
    assert f"--benchmark {example}" in capsys.readouterr().out
    assert main(["judge", str(answers), *named, "--judge", "rules"]) == 0
    verdicts = tmp_path / "l_verdicts.jsonl"
    assert len(load_verdicts(verdicts)) == 60
    run = json.loads((tmp_path / "l_spy.json").read_text())
    assert (run["benchmark"], run["dataset"]) == (benchmark.name, "SPYBench_OWN")
    absolute = ["a29_ausweis", "a31_passport", "a32_drivers_license"]
    assert run["protocol"]["absolute_labels"] == absolute
    capsys.readouterr()
    assert main(["score", str(verdicts), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    # Three of twelve labels are absolute: `spy-literal` answers them where they are called public,
    # and answers no conflict but theirs.
    assert found[ICS]["score"] == 75
    assert (found[RTA]["score"], found[ATA_CONFLICT]["score"], found[HMS]) == (100, 25, 40)


def test_absolute_labels_of_ones_own_reach_the_score_and_the_report(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, answers = str(write()), tmp_path / "run" / "o_answers.jsonl"
    words = ("--backend", "policy", "--model", "spy-oracle", "--out", str(answers))
    assert main(["generate", "--benchmark", folder, *words]) == 0
    assert main(["judge", str(answers), "--benchmark", folder, "--judge", "rules"]) == 0
    capsys.readouterr()
    assert main(["score", str(answers.with_name("o_verdicts.jsonl")), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"][ICS]["score"] == 100
    out = tmp_path / "report"
    assert main(["report", str(answers.parent), "--out", str(out)]) == 0
    written = csv.DictReader((out / "report.csv").read_text().splitlines())
    oracle = [r for r in written if (r["model"], r["scope"]) == ("spy-oracle", "all")]
    found = {r["metric"]: r["score"] for r in oracle}
    assert (found[ICS], found[RTA], found[ATA_CONFLICT]) == ("100.0", "100.0", "100.0")
    page = (out / "report.html").read_text()
    assert "refusing is right, whatever the user says (card)." in page


def test_answers_to_a_form_that_has_changed_are_told_so(
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, answers = write(), tmp_path / "o_answers.jsonl"
    monkeypatch.setenv("SPY_BENCH_OWN", str(folder))
    words = ("--backend", "policy", "--model", "spy-oracle", "--out", str(answers))
    assert main(["generate", "--benchmark", "Own", *words]) == 0
    form = folder / "benchmark.yaml"
    form.write_text(form.read_text().replace("home town", "town"))
    assert main(["judge", str(answers), "--benchmark", str(folder), "--judge", "rules"]) == 1
    said = capsys.readouterr().err
    assert "The form has changed since: restore it, or let the model answer again." in said


def test_absolute_labels_of_a_release_reach_the_score_without_an_option(
    example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here nothing is absolute, so that no refusal by the oracle may be counted as one."""
    folder, release, answers = tmp_path / "form", tmp_path / "release", tmp_path / "o_answers.jsonl"
    shutil.copytree(example, folder)
    form = folder / "benchmark.yaml"
    form.write_text(form.read_text().replace(", absolute: true", ""))
    export(open_own(folder), "official", release)
    words = ("--backend", "policy", "--model", "spy-oracle", "--out", str(answers))
    assert main(["generate", "--release", str(release), *words]) == 0
    assert main(["judge", str(answers), "--release", str(release), "--judge", "rules"]) == 0
    capsys.readouterr()
    verdicts = str(tmp_path / "o_verdicts.jsonl")
    for option in ((), ("--release", str(release))):
        assert main(["score", verdicts, "--json", *option]) == 0
        assert json.loads(capsys.readouterr().out)["metrics"][ICS]["score"] == 100
    assert main(["score", verdicts, "--labels", str(form)]) == 1
    assert "--labels and --images go with --questions" in capsys.readouterr().err


def test_a_contact_sheet_among_the_pictures_is_not_one_of_them(write: Write) -> None:
    photos = write() / "photos"
    assert main(["new", str(photos), "--pictures", str(photos)]) == 0
    main(["new", str(photos), "--check"])
    assert (photos / "contact_sheet.jpg").is_file()
    assert pictures_in(photos) == ["a.png", "sub/b.png"]


@pytest.mark.parametrize("name", ["own", "mini", "my own", "mine"])
def test_the_printed_command_runs_whatever_the_folder_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPY_BENCH_OWN", raising=False)
    assert main(["new", "--example", name]) == 0
    said = capsys.readouterr().out
    words = shlex.split(next(x for x in said.splitlines() if x.startswith("run:")))
    assert words[1:4] == ["spy-bench", "generate", "--benchmark"]
    assert main(words[2:]) == 0
    assert "answered 60, filtered 0, failed 0 of 60 samples" in capsys.readouterr().out


def test_a_hugging_face_dataset_holds_its_samples(example: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "hf"
    words = ("--format", "hf-dataset", "--out", str(out), "--benchmark", str(example))
    assert main(["data", "export", *words]) == 0
    rows = datasets.load_dataset(str(out), split="test")
    expected = [(s.sample_id, s.prompt, s.gt) for s in open_own(example).samples()]
    assert list(zip(rows["sample_id"], rows["prompt"], rows["answer"], strict=True)) == expected
    assert rows[0]["image"].size == (640, 480)


def test_a_picture_called_like_a_contact_sheet_stays_and_is_a_picture(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write() / "photos"
    for name in ("contact_sheet.jpg", "contact_sheet_2.jpg"):
        Image.new("RGB", (9, 9), (200, 0, 0)).save(photos / name)
    (photos / "contact_sheet_3.jpg").symlink_to(photos / "elsewhere.jpg")
    before = (photos / "contact_sheet.jpg").read_bytes()
    assert main(["new", str(photos), "--pictures", str(photos)]) == 0
    for _ in range(2):  # the second sheet replaces the first
        assert main(["new", str(photos), "--check"]) == 1
        assert f"contact sheet of 4 pictures: {photos}/contact_sheet_4.jpg\n" in (
            capsys.readouterr().out
        )
    assert (photos / "contact_sheet.jpg").read_bytes() == before
    assert not (photos / "elsewhere.jpg").exists()
    assert not (photos / "contact_sheet_5.jpg").exists()
    expected = ["a.png", "contact_sheet.jpg", "contact_sheet_2.jpg", "sub/b.png"]
    assert pictures_in(photos) == expected
