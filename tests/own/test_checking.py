"""Each thing that is missing or wrong in a form is named by its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from spy_plugin.cli.main import main
from spy_plugin.errors import DataError
from spy_plugin.own.checking import check
from tests.own.conftest import CSV, YAML, Write

ROW = "q3,sub/b.png,card,Which number has it?,V 12,,\n"


def problems(folder: Path) -> list[str]:
    return [str(problem).replace(f"{folder}/", "") for problem in check(folder).problems]


def test_a_filled_form_has_no_problem(write: Write) -> None:
    checked = check(write())
    assert checked.problems == ()
    assert checked.benchmark is not None
    assert len(checked.benchmark.items) == 3


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("q3,sub/b.png,cart,Which?,V,,", "items.csv:4: unknown label 'cart'; known: card, name"),
        ("q3,b.png,card,Which?,V,,", "items.csv:4: the picture 'b.png' is missing in"),
        ("q3,../a.png,card,Which?,V,,", "items.csv:4: picture '../a.png' leaves the data root"),
        (f"q3,{'a' * 300}.png,card,Which?,V,,", "items.csv:4: the picture 'aaaa"),
        ("q3,,card,Which?,V,,", "items.csv:4: picture is empty"),
        ("q1,sub/b.png,card,Which?,V,,", "items.csv:4: duplicate id 'q1', first in line 2"),
        ("a/b,sub/b.png,card,Which?,V,,", "items.csv:4: the id 'a/b' is not 1 to 80 letters"),
        ("q3,sub/b.png,card,,V,,", "items.csv:4: question is empty"),
        ("q3,sub/b.png,card,Which?,,,", "items.csv:4: ground_truth is empty"),
        ("q3,sub/b.png,card,Is it V 12?,v 12,,", "'v 12' stands in the question"),
        ("q3,sub/b.png,card,Which?,V,Yes.,", "items.csv:4: reject is empty"),
        ("q3,sub/b.png,card,Which?,V,No.,no.", "the two answers, respond and reject, are equal"),
        ("q3,sub/b.png,card,Which, of?,V,,", "items.csv:4: has 8 cells for 7 columns"),
    ],
)
def test_a_wrong_row(write: Write, row: str, expected: str) -> None:
    found = problems(write(csv=CSV.replace(ROW, row + "\n")))
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("distractors", "scenarios", "expected"),
    [
        ("town", "", "the distractor 'town' is not LABEL=private or LABEL=public"),
        ("town=secret", "", "the distractor 'town=secret' is not LABEL=private"),
        ("hat=public", "", "unknown label 'hat' among the distractors"),
        ("name=public", "", "distractors gives name the side 'public'"),
        ("town=asked", "", "distractors gives town the side 'asked'"),
        ("town=public; town=private", "", "names a distractor twice"),
        ("", "desk; bar", "unknown scenario 'bar'; known: desk, quiz"),
        ("", "desk; desk", "names a scenario twice"),
    ],
)
def test_wrong_lists(write: Write, distractors: str, scenarios: str, expected: str) -> None:
    text = (
        "id,picture,label,question,ground_truth,distractors,scenarios\n"
        f"q1,a.png,name,Who?,Ada,{distractors},{scenarios}\n"
    )
    (found,) = problems(write(csv=text))
    assert found.startswith("items.csv:2: ")
    assert expected in found


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "At the desk: {}",
            "At the desk",
            'benchmark.yaml:9: "scenarios.0.template" is a template',
        ),
        ("id: town", "id: name", "benchmark.yaml:5: duplicate id 'name' in labels"),
        ("[name]", "[nam]", "benchmark.yaml:10: scenario desk needs the unknown label 'nam'"),
        ("home town", "Full name", "benchmark.yaml:5: label town has the same words as name"),
        ("words: home town", "word: home town", 'benchmark.yaml:5: "labels.1.words" is missing'),
        ("words: home town", "word: home town", '"labels.1.word" is an unknown key'),
        ("  - {id: town", "  - town\n  - {id: town", "must be a mapping of keys to values (KEY: V"),
        ("id: town", "id: no", 'benchmark.yaml:5: "labels.1.id" must be text, not False'),
        ("number: 2", "number: -1", "benchmark.yaml:12:"),
        ("name: small", "name: a/b", "benchmark.yaml:1:"),
        (
            "distractors:",
            'instructions: {public: "Say {}", private: "say {}"}\ndistractors:',
            "benchmark.yaml:12: the public and the private instruction are equal",
        ),
    ],
)
def test_a_wrong_field(write: Write, old: str, new: str, expected: str) -> None:
    found = problems(write(yaml=YAML.replace(old, new)))
    assert any(expected in problem for problem in found), found


def test_pictures_that_show_nothing(write: Write) -> None:
    folder = write()
    Image.new("RGB", (32, 32), (9, 9, 9)).save(folder / "photos" / "a.png")
    (folder / "photos" / "sub" / "b.png").write_bytes(b"not a picture")
    assert problems(folder)[0] == (
        "items.csv:2: the picture 'a.png' shows nothing: it has one colour"
    )
    assert "items.csv:4: the picture 'sub/b.png' cannot be decoded" in problems(folder)[1]


def test_a_picture_that_is_a_link_to_elsewhere(write: Write, tmp_path: Path) -> None:
    folder = write()
    outside = tmp_path / "outside.png"
    (folder / "photos" / "a.png").rename(outside)
    (folder / "photos" / "a.png").symlink_to(outside)
    (found,) = problems(folder)
    assert found.startswith("items.csv:2: the picture 'a.png' is missing, or a link that leaves")


def test_a_draft_is_refused_everywhere(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    text = CSV.replace("respond,reject", "respond,reject,draft").replace("V 12,,", "V 12,,,gpt")
    folder = write(csv=text)
    assert "items.csv:4: is a draft (gpt)" in problems(folder)[0]
    assert main(["samples", "--benchmark", str(folder)]) == 1
    assert "is a draft (gpt)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("yaml", "csv", "expected"),
    [
        ("name: [", CSV, "benchmark.yaml, line 2: is not YAML"),
        (YAML + "name: b\n", CSV, "line 1: is not YAML (duplicate key)"),
        (YAML + "x: &a [1]\ny: *a\n", CSV, "line 14: holds an alias"),
        (YAML, "id,picture\n", "items.csv, line 1: the first line lacks the column 'label'"),
        (YAML, 'id,picture,label,question\nq1,"a', "items.csv, line 2: is not CSV"),
        (YAML, "", "the first line lacks the column 'id'"),
    ],
)
def test_files_that_are_no_form(write: Write, yaml: str, csv: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        check(write(yaml, csv))
    assert expected in str(caught.value)


def test_a_table_from_a_spreadsheet_is_read(write: Write) -> None:
    """A byte order mark, semicolons, Windows line ends, blank lines and quoted line breaks."""
    folder = write()
    text = 'id;picture;label;question;ground_truth\r\nq1;a.png;name;"Who\r\nis it?";Ada\r\n;;;;\r\n'
    (folder / "items.csv").write_bytes(
        b"\xef\xbb\xbf" + text.encode() + b"q2;x.png;name;Who?;A\r\n"
    )
    (found,) = problems(folder)
    assert found.startswith("items.csv:5: the picture 'x.png' is missing")


def test_the_command_shows_prompts_and_draws_a_sheet(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write()
    Image.new("RGB", (5, 5)).save(folder / "photos" / "unused.jpg")
    assert main(["new", str(folder), "--check", "--preview", "1"]) == 0
    out = capsys.readouterr().out
    assert "[q1/distractors/private/conflict/desk]\n" in out
    assert "\n\nAt the desk: Who is this?\n" in out
    assert "q2/" not in out
    assert "1 pictures have no row: unused.jpg" in out
    assert "3 items on 2 pictures, 13 samples with distractors; no problems" in out
    with Image.open(folder / "contact_sheet.jpg") as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", (1256, 200))
    assert main(["new", str(write(csv=CSV.replace("town", "tow"))), "--check"]) == 1
    assert "items.csv:3: unknown label 'tow'" in capsys.readouterr().out
