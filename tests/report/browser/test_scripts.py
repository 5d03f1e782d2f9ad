"""Data as scripts: any text comes back as it was, and nothing in it ends the script."""

from __future__ import annotations

import json

import pytest

from spy_plugin.report.browser.scripts import columns_of, script
from tests.report.hostile import HOSTILE


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_comes_back_and_cannot_end_the_script(text: str) -> None:
    written = script("answers-0-0", {"answer": [text], text: 1})
    head, tail = 'spy.receive("answers-0-0", ', ");\n"
    assert written.startswith(head)
    assert written.endswith(tail)
    assert json.loads(written[len(head) : -len(tail)]) == {"answer": [text], text: 1}
    assert not {"<", "\u2028", "\u2029"} & set(written)
    assert written.count("\n") == 1


def test_half_an_emoji_is_written_as_its_escape() -> None:
    assert script("a", {"x": "\ud83d"}).encode() == b'spy.receive("a", {"x": "\\ud83d"});\n'


def test_columns_leave_out_what_no_record_has() -> None:
    records = [{"answer": "a"}, None, {"answer": "b", "error": "e"}]
    assert columns_of(records) == {"answer": ["a", "", "b"], "error": ["", "", "e"]}
    assert columns_of([None, None]) == {}
