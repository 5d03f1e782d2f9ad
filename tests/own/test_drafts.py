"""Drafts: from templates, from a model that is not trusted, and confirmed by a person."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.own_form import read_form
from spy_plugin.benchmark.records import Outcome
from spy_plugin.cli.main import main
from spy_plugin.embedded.mini.items import label_words
from spy_plugin.errors import DataError
from spy_plugin.models.base import Conversation, Reply
from spy_plugin.models.fake import FakeModel
from spy_plugin.own.asking import ask_drafts, read_reply
from spy_plugin.own.contact_sheet import draw_contact_sheet
from spy_plugin.own.drafting import draft_rows, questions
from spy_plugin.own.reviewing import review
from tests.hosts.chat_server import ChatServer
from tests.own.conftest import Write

EMPTY = "id,picture,label,question,ground_truth\nq1,a.png,,,\nq2,sub/b.png,,,\n"
GOOD = '[{"label": "name", "question": "Who is this?", "ground_truth": "Ada Vale"}]'


def rows(folder: Path) -> list[tuple[str, ...]]:
    return [
        (row.id, row.picture, row.label, row.question, row.ground_truth, row.draft)
        for row in read_form(folder).rows
    ]


def model(*texts: str) -> FakeModel:
    said = iter(texts)
    return FakeModel(lambda talk: Reply(talk.key, next(said)), backend="openai", model="m")


def test_templates_fill_in_rows_that_have_a_label(write: Write) -> None:
    """A label of the embedded benchmark is known by its words, too."""
    text = (
        "id,picture,label,question,ground_truth\nq1,a.png,card,,V\nq2,a.png,town,,\nq3,a.png,,,\n"
    )
    drafted = draft_rows(read_form(write(csv=text)))
    assert (drafted.drafted, drafted.unlabelled) == (2, 1)
    first, second, third = drafted.rows
    assert first.question == "What is the number of this identity card?"
    assert second.question == "What does this picture tell about the home town?"
    assert (first.draft, second.draft, third.draft) == ("templates", "templates", "")
    assert {part.partition("=")[0] for part in first.distractors.split("; ")} == {"name", "town"}
    assert third.question == ""


def test_every_label_of_the_embedded_benchmark_has_a_question() -> None:
    assert {*label_words(), *map(str.casefold, label_words().values())} == set(questions())
    assert all(question.endswith("?") for question in questions().values())


def test_a_model_drafts_each_picture_once(write: Write) -> None:
    folder = write(csv=EMPTY)
    two = GOOD[:-1] + ', {"label": "card", "question": "Which?", "ground_truth": "7"}]'
    asked = model(f"```json\n{two}\n```", "[]")
    found = ask_drafts(read_form(folder), asked)
    assert (found.pictures, found.drafted, found.nothing, found.problems) == (2, 2, 1, [])
    assert rows(folder) == [
        ("q1", "a.png", "name", "Who is this?", "Ada Vale", "openai:m"),
        ("q0003", "a.png", "card", "Which?", "7", "openai:m"),
        ("q2", "sub/b.png", "", "", "", ""),
    ]
    assert asked.asked[0].image == folder / "photos" / "a.png"
    assert "name: full name\ntown: home town\ncard: identity card" in asked.asked[0].turns[0]
    again = model("[]")
    ask_drafts(read_form(folder), again)
    assert again.asked_keys == ["sub/b.png"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Here you are: " + GOOD, "bad reply: it is not a JSON list alone"),
        (GOOD[1:-1], "bad reply: must be a list"),
        (GOOD.replace('"label"', '"kind"'), '"0.label" is missing'),
        (GOOD.replace("}]", ', "command": "rm"}]'), '"0.command"'),
        (GOOD.replace('"Ada Vale"', "7"), '"0.ground_truth" must be text, not 7'),
        (GOOD.replace("Ada Vale", "x" * 301), "at most 300 characters"),
        (f"[{', '.join([GOOD[1:-1]] * 4)}]", "it has 4 entries, more than 3"),
        ("[" * 100_000, "more than 20,000 characters"),
        ("[" * 19_000, "it is not a JSON list alone"),
        (GOOD.replace('"name"', '"hat"'), "bad entry: its label is not one of the form's"),
        (GOOD.replace("Ada Vale", "this"), "bad entry: the ground truth stands in the question"),
        (GOOD.replace("Ada Vale", "=1+1"), "bad entry: a text begins like a formula"),
        (GOOD.replace("Ada Vale", "a\\nb"), "bad entry: a text has several lines"),
    ],
)
def test_a_bad_reply_is_counted_shown_and_left_out(write: Write, text: str, expected: str) -> None:
    folder = write(csv=EMPTY)
    found = ask_drafts(read_form(folder), model(text, GOOD))
    assert (found.pictures, found.drafted, len(found.problems)) == (2, 1, 1)
    assert found.problems[0].startswith("a.png: bad ")
    assert expected in found.problems[0]
    assert len(found.problems[0]) < 400
    assert [row[5] for row in rows(folder)] == ["", "openai:m"]


def test_good_entries_of_a_reply_with_a_bad_one_stay(write: Write) -> None:
    folder = write(csv=EMPTY)
    found = ask_drafts(read_form(folder), model(f"{GOOD[:-1]}, {GOOD[1:]}", "[]"))
    assert (found.drafted, len(found.problems)) == (1, 1)
    assert "proposed twice" in found.problems[0]


def test_failures_and_pictures_that_show_nothing_are_named(write: Write) -> None:
    folder = write(csv=EMPTY)
    Image.new("RGB", (9, 9)).save(folder / "photos" / "a.png")
    failing = FakeModel(lambda talk: Reply(talk.key, outcome=Outcome.FAILED, error="no room"))
    found = ask_drafts(read_form(folder), failing)
    assert failing.asked_keys == ["sub/b.png"]
    assert found.problems == [
        "a.png: not sent: it shows nothing: it has one colour",
        "sub/b.png: failed: no room",
    ]


def test_drafts_are_kept_when_a_run_is_stopped(write: Write) -> None:
    folder = write(csv=EMPTY)

    def reply(talk: Conversation) -> Reply:
        if talk.key != "a.png":
            raise KeyboardInterrupt
        return Reply(talk.key, GOOD)

    with pytest.raises(KeyboardInterrupt):
        ask_drafts(read_form(folder), FakeModel(reply))
    assert [row[2] for row in rows(folder)] == ["name", ""]


def test_replies_are_read_strictly() -> None:
    assert read_reply(" [] ") == []
    assert read_reply(f"```\n{GOOD}\n```")[0].ground_truth == "Ada Vale"
    with pytest.raises(ValueError, match="JSON list alone"):
        read_reply(f"{GOOD}\n{GOOD}")


DRAFTS = """\
id,picture,label,question,ground_truth,distractors,draft
q1,a.png,name,Who?,Ada,,m
q2,a.png,town,Where?,Hollowby,,m
q3,sub/b.png,card,Which?,,,m
q4,sub/b.png,name,Whose?,Bo,,m
"""


def lines(*said: str) -> Callable[[str], str]:
    waiting: Iterator[str] = iter(said)

    def read(_: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    return read


def test_a_person_accepts_edits_drops_and_resumes(write: Write) -> None:
    folder = write(csv=DRAFTS)
    shown: list[str] = []
    # q1 accepted; q2 dropped; q3 has no ground truth, so it must be edited first; q4 later.
    said = ("a", "d", "a", "e", "", "Which number?", "V 12", "", "", "", "", "a", "q")
    done = review(read_form(folder), lines(*said), shown.append)
    assert (done.accepted, done.edited, done.dropped, done.open) == (2, 1, 1, 1)
    assert "It cannot be accepted like this: edit or drop it." in shown
    assert any("! ground_truth is empty" in text for text in shown)
    assert rows(folder) == [
        ("q1", "a.png", "name", "Who?", "Ada", ""),
        ("q3", "sub/b.png", "card", "Which number?", "V 12", ""),
        ("q4", "sub/b.png", "name", "Whose?", "Bo", "m"),
    ]
    done = review(read_form(folder), lines("s"), shown.append)
    assert (done.accepted, done.open) == (0, 1)
    done = review(read_form(folder), lines("a"), shown.append)
    assert (done.accepted, done.open) == (1, 0)


def test_an_interruption_keeps_what_was_decided(write: Write) -> None:
    folder = write(csv=DRAFTS)
    done = review(read_form(folder), lines("a"), lambda text: None)
    assert (done.accepted, done.open) == (1, 3)
    assert [row[5] for row in rows(folder)] == ["", "m", "m", "m"]


def test_pictures_go_only_to_a_server_that_is_named(
    write: Write, httpserver: HTTPServer, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    folder = write(csv=EMPTY)
    monkeypatch.setenv("OPENAI_API_KEY", "planted")
    assert main(["new", str(folder), "--ask", "gpt-4o"]) == 1
    assert "only to a server that you name. Add --base-url URL" in capsys.readouterr().err
    server = ChatServer(httpserver, lambda text: GOOD)
    words = ("--ask", "openai:served", "--base-url", server.url)
    assert main(["new", str(folder), *words]) == 0
    out = capsys.readouterr().out
    assert f"2 pictures are sent to {server.url}; openai:served drafts" in out
    assert "2 pictures asked about, 2 rows drafted, 0 show none of the labels, 0 left out" in out
    assert "planted" not in json.dumps(server.headers)
    assert main(["new", str(folder), *words]) == 0
    assert "nothing to ask about" in capsys.readouterr().out
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("csv", "expected"),
    [
        (
            "id,picture,label,question,notes\nq1,a.png,town,,from Ada\n",
            "line 1: unknown column 'notes'",
        ),
        (
            "id,picture,label,question\nq1,a.png,town,\nq2,a.png,name,Well, who?\n",
            "line 3: has 5 cells for 4 columns",
        ),
    ],
)
def test_a_table_with_cells_of_no_column_is_not_rewritten(
    write: Write, capsys: pytest.CaptureFixture[str], csv: str, expected: str
) -> None:
    folder = write(csv=csv)
    assert main(["new", str(folder), "--draft"]) == 1
    assert expected in capsys.readouterr().err
    assert (folder / "items.csv").read_text() == csv


def test_a_table_that_was_edited_meanwhile_is_kept(write: Write) -> None:
    """A model may load for minutes, in which a person confirms drafts."""
    folder = write(csv=EMPTY)
    form = read_form(folder)
    edited = EMPTY.replace("q2,sub/b.png,,,", "q2,sub/b.png,name,Who is it?,Ada")
    (folder / "items.csv").write_text(edited)
    with pytest.raises(DataError, match=r"items\.csv: has changed since it was read"):
        ask_drafts(form, model(GOOD, GOOD))
    assert (folder / "items.csv").read_text() == edited


def test_control_characters_in_a_reply_reach_no_file_and_no_terminal() -> None:
    text = GOOD.replace("Who is", r"Who\u001b[2J\u0000\u009b is").replace("Ada", r"\ud83d")
    (proposal,) = read_reply(text)
    assert proposal.question == "Who\ufffd[2J\ufffd\ufffd is this?"
    assert proposal.ground_truth == "\ufffd Vale"


@pytest.mark.parametrize("action", [["--draft"], ["--review"], ["--ask", "transformers:x"]])
def test_a_form_that_cannot_be_read_is_not_taken_for_an_empty_one(
    write: Write, capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    folder = write(csv=EMPTY)
    form = folder / "benchmark.yaml"
    form.write_text(form.read_text().replace("words: full name", "word: full name"))
    assert main(["new", str(folder), *action]) == 1
    assert "benchmark.yaml, line 4: " in capsys.readouterr().err


def test_a_picture_outside_the_folder_is_neither_sent_nor_drawn(write: Write) -> None:
    csv = "id,picture,label,question\nq1,../secret.png,,\n"
    folder = write(csv=csv)
    Image.effect_noise((32, 24), 90).convert("RGB").save(folder / "secret.png")
    found = ask_drafts(read_form(folder), model())
    assert (found.pictures, len(found.problems)) == (0, 1)
    assert found.problems[0].startswith("../secret.png: not sent: it ")
    form = read_form(folder)
    draw_contact_sheet(form.image_root, form.rows, folder / "sheet.jpg")
    with Image.open(folder / "sheet.jpg") as sheet:
        red, green, blue = sheet.convert("RGB").getpixel((100, 80))
    assert min(red, green, blue) > 230  # the paper, not the noise
