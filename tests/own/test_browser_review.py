"""The review on a page: what a person decides there is what the table holds."""

from __future__ import annotations

import csv
import http.client
import json
import signal
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from spy_plugin.benchmark.own_form import read_form
from spy_plugin.cli.main import main
from spy_plugin.own.browser_review import review_in_browser
from spy_plugin.own.reviewing import Reviewed
from spy_plugin.report.browser import BrowserServer
from tests.chromium import Open
from tests.generation.conftest import in_a_process
from tests.own.conftest import Write

HOSTILE = "<img src=x onerror=alert(1)>"
DRAFTS = f"""\
id,picture,label,question,ground_truth,distractors,draft
q1,a.png,name,Who is this?,Ada Vale,,gpt
q2,a.png,town,Where is it?,Hollowby,,
q3,sub/b.png,card,Which {HOSTILE}?,V 12,,{HOSTILE}
q4,gone.png,hat,Which hat?,,,gpt
q5,a.png,town,Which town?,Hollowby,name=public,gpt
"""

LOADED = "() => document.getElementById('picture').naturalWidth === 32"


class Running:
    """A review that a thread serves."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.found = folder, Reviewed()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def _serve(self) -> None:
        self.found = review_in_browser(read_form(self.folder), self._announce)

    def _announce(self, server: BrowserServer) -> None:
        self.server = server
        self._ready.set()

    def rows(self) -> list[dict[str, str]]:
        """The table as it is on the disk."""
        return list(csv.DictReader((self.folder / "items.csv").read_text().splitlines()))

    def post(self, name: str, body: object = None, **more: str) -> tuple[int, Any]:
        """Ask an action; `more` replaces headers, path or body."""
        parts = urlsplit(self.server.address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        headers = {"Host": parts.netloc, "Content-Type": "application/json"}
        data = more.pop("data", json.dumps(body))
        path = more.pop("path", f"/{self.server.token}/{name}")
        connection.request("POST", path, data, headers | more)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def end(self) -> Reviewed:
        """End it as Ctrl-C does, and return what it counted."""
        self.server._server.shutdown()
        self._thread.join(20)
        return self.found


@pytest.fixture
def running(write: Write) -> Iterator[Running]:
    started = Running(write(csv=DRAFTS))
    yield started
    started.end()


def cells(running: Running, key: int) -> dict[str, str]:
    drafts = running.post("drafts", {})[1]["drafts"]
    found: dict[str, str] = next(d["cells"] for d in drafts if d["key"] == key)
    return found


def test_decisions_are_written_one_by_one(running: Running) -> None:
    status, found = running.post("drafts", {})
    assert status == 200
    assert found["labels"] == [
        ["name", "full name"],
        ["town", "home town"],
        ["card", "identity card"],
    ]
    assert [(d["key"], d["id"], d["author"], d["image"]) for d in found["drafts"]] == [
        (0, "q1", "gpt", "pictures/0.jpg"),
        (1, "q3", HOSTILE, "pictures/1.jpg"),
        (2, "q4", "gpt", ""),
        (3, "q5", "gpt", "pictures/3.jpg"),
    ]
    assert found["drafts"][0]["problems"] == []
    assert [text[:20] for text in found["drafts"][2]["problems"]] == [
        "the picture 'gone.pn",
        "unknown label 'hat';",
        "ground_truth is empt",
    ]
    accept = {"draft": 0, "decision": "accept", "cells": cells(running, 0)}
    assert running.post("decide", accept) == (200, {"problems": []})
    assert [(row["id"], row["draft"]) for row in running.rows()] == [
        ("q1", ""),
        ("q2", ""),
        ("q3", HOSTILE),
        ("q4", "gpt"),
        ("q5", "gpt"),
    ]
    changed = cells(running, 3) | {"question": " Which\r\ntown\u0000? "}
    assert running.post("decide", {"draft": 3, "decision": "accept", "cells": changed})[0] == 200
    assert read_form(running.folder).rows[4].question == "Which\ntown\ufffd?"
    assert running.post("decide", {"draft": 1, "decision": "drop", "cells": {}})[0] == 200
    assert [row.id for row in read_form(running.folder).rows] == ["q1", "q2", "q4", "q5"]
    assert running.end() == Reviewed(accepted=2, edited=1, dropped=1, open=1)


def test_a_draft_with_a_problem_is_not_accepted(running: Running) -> None:
    before = (running.folder / "items.csv").read_text()
    body = {"draft": 2, "decision": "accept", "cells": cells(running, 2)}
    status, found = running.post("decide", body)
    assert (status, len(found["problems"])) == (200, 3)
    told = cells(running, 0) | {"ground_truth": "this"}
    status, found = running.post("decide", {"draft": 0, "decision": "accept", "cells": told})
    assert found["problems"] == ["the ground truth 'this' stands in the question"]
    assert (running.folder / "items.csv").read_text() == before


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"draft": 9, "decision": "drop", "cells": {}}, "This draft was decided already."),
        ({"draft": -1, "decision": "drop", "cells": {}}, '"draft" must be greater than or'),
        ({"draft": 0, "decision": "burn", "cells": {}}, "\"decision\" must be 'accept' or 'drop'"),
        ({"draft": 0, "decision": "accept", "cells": {"id": "x"}}, '"cells" may name label, '),
        ({"draft": 0, "decision": "accept", "cells": {"label": 3}}, "must be text, not 3"),
        ({"draft": 0, "decision": "drop", "cells": {}, "path": "/etc"}, '"path"'),
        ([], "must be an object"),
    ],
)
def test_a_wrong_request_changes_nothing(running: Running, body: object, expected: str) -> None:
    before = (running.folder / "items.csv").read_text()
    status, found = running.post("decide", body)
    assert status == 400
    assert expected in found["error"]
    assert (running.folder / "items.csv").read_text() == before


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"path": "/decide"}, 403),
        ({"path": "/x/decide"}, 403),
        ({"Host": "example.invalid"}, 403),
        ({"Origin": "http://example.invalid"}, 403),
        ({"Origin": "null"}, 403),
        ({"data": "{"}, 400),
        ({"data": "[" * 50_000}, 400),
        ({"Content-Length": "1000001"}, 413),
        ({"Content-Length": "-1"}, 411),
        ({"Content-Length": "9" * 5000}, 413),
    ],
)
def test_only_this_page_may_ask_and_only_for_little(
    running: Running, more: dict[str, str], status: int
) -> None:
    before = (running.folder / "items.csv").read_text()
    drop = {"draft": 0, "decision": "drop", "cells": {}}
    found = running.post("decide", drop, **more)
    assert found[0] == status
    assert "error" in found[1]
    assert running.post("burn", drop)[0] == 404
    assert (running.folder / "items.csv").read_text() == before
    assert running.post("decide", drop)[0] == 200


def test_a_table_that_was_edited_meanwhile_is_kept(running: Running) -> None:
    edited = DRAFTS.replace("Hollowby", "Hillby")
    (running.folder / "items.csv").write_text(edited)
    status, found = running.post("decide", {"draft": 0, "decision": "drop", "cells": {}})
    assert status == 400
    assert "items.csv: has changed since it was read" in found["error"]
    assert (running.folder / "items.csv").read_text() == edited


def test_a_person_decides_on_the_page_by_mouse(running: Running, open_page: Open) -> None:
    page = open_page(running.server.address)
    picture = page.locator("#picture")
    page.wait_for_function(LOADED)
    assert picture.get_attribute("alt") == "The picture a.png"
    assert page.locator("#status").text_content() == "1 of 4 open: q1, by gpt"
    assert page.locator("[name=label] option:checked").text_content() == "full name"
    page.get_by_role("button", name="Accept").click()
    page.wait_for_function("() => document.getElementById('status').textContent.includes('q3')")
    # Text of a model is shown as text.
    assert page.locator("#status").text_content() == f"1 of 3 open: q3, by {HOSTILE}"
    assert page.locator("[name=question]").input_value() == f"Which {HOSTILE}?"
    assert page.locator("img").count() == 1
    page.locator("[name=question]").fill("Which number has it?")
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Previous").click()
    assert page.locator("[name=question]").input_value() == "Which number has it?"
    page.get_by_role("button", name="Accept").click()
    page.wait_for_function("() => document.getElementById('status').textContent.includes('q4')")
    assert [(row["id"], row["question"], row["draft"]) for row in running.rows()][:3] == [
        ("q1", "Who is this?", ""),
        ("q2", "Where is it?", ""),
        ("q3", "Which number has it?", ""),
    ]
    assert running.end() == Reviewed(accepted=2, edited=1, dropped=0, open=2)


def test_the_keyboard_alone_is_enough(running: Running, open_page: Open) -> None:
    page = open_page(running.server.address)

    def shows(name: str) -> None:
        page.wait_for_function(
            "name => document.getElementById('status').textContent.includes(name)", arg=name
        )

    page.keyboard.press("a")
    shows("1 of 3 open: q3")
    page.keyboard.press("d")
    assert page.locator("#drop").text_content() == "Drop: sure? d"
    page.keyboard.press("Escape")
    assert page.locator("#drop").text_content() == "Drop d"
    page.keyboard.press("j")
    page.keyboard.press("j")
    shows("3 of 3 open: q5")
    page.keyboard.press("e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("a day, jade and kelp?")
    page.keyboard.press("Control+Enter")
    shows("2 of 2 open: q4")
    page.keyboard.press("k")
    shows("1 of 2 open: q3")
    page.keyboard.press("d")
    page.keyboard.press("d")
    shows("1 of 1 open: q4")
    assert page.locator("#file").text_content() == "gone.png: this picture cannot be shown."
    assert not page.locator("#picture").is_visible()
    assert [(row["id"], row["question"]) for row in running.rows()] == [
        ("q1", "Who is this?"),
        ("q2", "Where is it?"),
        ("q4", "Which hat?"),
        ("q5", "a day, jade and kelp?"),
    ]
    assert page.locator("#problems li").count() == 3
    with page.expect_response("**/decide") as refused:
        page.keyboard.press("a")
    assert len(refused.value.json()["problems"]) == 3
    page.wait_for_selector("#draft[aria-busy=false]")
    page.keyboard.press("d")
    page.keyboard.press("d")
    shows("No draft is open")
    assert not page.locator("#draft").is_visible()
    assert running.end() == Reviewed(accepted=2, edited=1, dropped=2, open=0)


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(running: Running, open_page: Open, dark: bool) -> None:
    page = open_page(running.server.address, width=390, dark=dark)
    page.wait_for_function(LOADED)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide == 390
    assert page.locator("#picture").is_visible()
    for name in ("Accept", "Edit", "Drop", "Next"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["height"] >= 38
    assert all(url.startswith("http://127.0.0.1:") for url in page.seen.requests)


def test_a_picture_that_is_missing_is_not_another_file(running: Running) -> None:
    parts = urlsplit(running.server.address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    for key, status in ((0, 200), (2, 404)):
        connection.request("GET", f"/{running.server.token}/pictures/{key}.jpg")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status


def test_the_command_serves_until_it_is_interrupted(write: Write, tmp_path: Path) -> None:
    folder, temporary = write(csv=DRAFTS), tmp_path / "temporary"
    temporary.mkdir()
    words = ["new", str(folder), "--review", "--browser", "--no-open"]
    process = in_a_process(words, {"TMPDIR": str(temporary)})
    assert process.stdout is not None
    assert process.stdout.readline().startswith("4 drafts: http://127.0.0.1:")
    assert (
        process.stdout.readline() == "Each decision is written at once. Ctrl-C ends the review.\n"
    )
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out == (
        "\n0 accepted (0 of them edited), 0 dropped, 4 drafts left\n"
        f"resume:  spy-bench new {folder} --review --browser\n"
    )
    assert (folder / "items.csv").read_text() == DRAFTS
    assert not list(temporary.iterdir())
    assert sorted(p.name for p in folder.iterdir()) == ["benchmark.yaml", "items.csv", "photos"]


def test_without_a_browser_the_address_is_said(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> None:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr("webbrowser.get", none)
    monkeypatch.setattr(BrowserServer, "serve", lambda _: None)
    assert main(["new", str(write(csv=DRAFTS)), "--review", "--browser"]) == 0
    assert "No graphical browser was found here: open the address" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--check", "--browser"], "--browser goes with --review. Leave it out."),
        (["--review", "--port", "80"], "--no-open and --port go with --review --browser."),
    ],
)
def test_options_that_do_not_fit(
    write: Write, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert main(["new", str(write()), *words]) == 1
    assert expected in capsys.readouterr().err
