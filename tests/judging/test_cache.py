"""The cache of judgements: no question is asked twice, and failures are never stored."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError, JudgeSetupError
from spy_plugin.judging import Judge, Judgement, Question, with_cache
from spy_plugin.judging.cache import JudgeCache
from spy_plugin.judging.model_judge import ModelJudge
from spy_plugin.models.base import Conversation, ModelSetupError, Reply
from spy_plugin.models.fake import FakeModel


class Counting(Judge):
    """Rejects everything, or fails; counts its questions."""

    def __init__(self, outcome: Outcome = Outcome.REJECT, fingerprint: str = "f1") -> None:
        self.name, self.fingerprint, self.outcome, self.asked = "counting", fingerprint, outcome, 0

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        for index in range(len(questions)):
            self.asked += 1
            yield index, Judgement(self.outcome, raw="the \ud800 raw 言葉")


def ask(judge: Judge, questions: Sequence[Question]) -> list[Judgement]:
    found = dict(judge.ask(questions))
    return [found[index] for index in range(len(questions))]


def test_a_second_run_asks_nothing(tmp_path: Path, questions: list[Question]) -> None:
    cache, first, second = tmp_path / "new" / "c.sqlite", Counting(), Counting()
    ask(with_cache(first, cache), questions)
    found = ask(with_cache(second, cache), questions)
    assert (first.asked, second.asked) == (10, 0)
    assert all(j.cached and j.outcome is Outcome.REJECT and "言葉" in j.raw for j in found)


@pytest.mark.parametrize(
    "other",
    [
        Question("a31_passport", "travel document", "Which number?", "It is X0."),
        Question("a31_passport", "passport", "What number?", "It is X0."),
        Question("a31_passport", "passport", "Which number?", "It is X00."),
    ],
)
def test_whatever_the_judge_sees_is_in_the_key(
    tmp_path: Path, questions: list[Question], other: Question
) -> None:
    judge = Counting()
    ask(with_cache(judge, tmp_path / "c"), questions[:1])
    ask(with_cache(judge, tmp_path / "c"), [other])
    assert judge.asked == 2


def test_another_judge_does_not_get_the_judgement(
    tmp_path: Path, questions: list[Question]
) -> None:
    ask(with_cache(Counting(), tmp_path / "c"), questions)
    other = Counting(fingerprint="f2")
    ask(with_cache(other, tmp_path / "c"), questions)
    assert other.asked == 10


def test_failures_are_asked_again_and_unjudged_ones_are_not(
    tmp_path: Path, questions: list[Question]
) -> None:
    for outcome, expected in ((Outcome.FAILED, 10), (Outcome.UNJUDGED, 10), (Outcome.REJECT, 0)):
        judge = Counting(outcome)
        ask(with_cache(judge, tmp_path / "c"), questions)
        assert judge.asked == expected


def test_a_stream_that_is_left_keeps_what_it_brought(
    tmp_path: Path, questions: list[Question]
) -> None:
    stream = iter(with_cache(Counting(), tmp_path / "c").ask(questions))
    next(stream)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    judge = Counting()
    ask(with_cache(judge, tmp_path / "c"), questions)
    assert judge.asked == 8


def test_a_file_that_is_no_cache_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text("not a database, but long enough to look at" * 50)
    with pytest.raises(DataError, match="--no-cache"):
        JudgeCache(path)
    assert path.read_text().startswith("not a database")


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096] + b"\xaa" * 8192)


def _of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("drop table judgements")
        database.execute("create table bookmarks (url text)")


def _other_columns(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("drop table judgements")
        database.execute("create table judgements (key text primary key, verdict text)")


def _unknown_outcome(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update judgements set outcome = 'maybe'")


def _raw_bytes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update judgements set raw = x'00ff'")


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("pragma user_version = 4")


@pytest.mark.parametrize(
    "spoil",
    [_damage, _of_another_program, _other_columns, _unknown_outcome, _raw_bytes, _newer],
)
def test_a_damaged_foreign_or_newer_file_is_named_with_its_remedy(
    tmp_path: Path, questions: list[Question], spoil: Callable[[Path], None]
) -> None:
    path, judge = tmp_path / "c.sqlite", Counting()
    ask(with_cache(judge, path), questions)
    spoil(path)
    with pytest.raises(DataError, match=r"c\.sqlite: .* Move the file away.*--no-cache"):
        ask(with_cache(judge, path), questions)
    assert judge.asked == len(questions)


def test_a_newer_cache_says_to_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    JudgeCache(path).close()
    _newer(path)
    with pytest.raises(DataError, match=r"newer version of spy-bench wrote it.*upgrade this one"):
        JudgeCache(path)


def test_a_database_of_another_program_is_not_changed(
    tmp_path: Path, questions: list[Question]
) -> None:
    path = tmp_path / "c.sqlite"
    ask(with_cache(Counting(), path), questions)
    _of_another_program(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match="another program"):
        JudgeCache(path)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_user_may_read_the_cache(tmp_path: Path, questions: list[Question]) -> None:
    with JudgeCache(tmp_path / "c.sqlite") as cache:
        cache.put("f", questions[0], Judgement(Outcome.REJECT))
        cache.flush()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert "c.sqlite" in modes
    assert set(modes.values()) == {0o600}


_WRITER = """
import sys
from pathlib import Path
from typing import Any
from spy_plugin.judging import Judgement, Question
from spy_plugin.judging.cache import JudgeCache
from spy_plugin.benchmark.records import Outcome
with JudgeCache(Path(sys.argv[1])) as cache:
    for n in range(500):
        question = Question("a", "a", "q", f"{sys.argv[2]} {n % 400}")
        cache.put("f", question, Judgement(Outcome.REJECT, "raw"))
"""


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c"
    processes = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path), who]) for who in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    questions = [Question("a", "a", "q", f"{who} {n}") for who in "abc" for n in range(400)]
    with JudgeCache(path) as cache:
        assert len(cache.get("f", questions)) == 1200


_FORMAT_1 = "key text primary key, outcome text not null, raw text not null, error text not null"
_FORMAT_2 = f"{_FORMAT_1}, thoughts text not null default '', answered_by text not null default ''"


@pytest.mark.parametrize(("version", "columns"), [(1, _FORMAT_1), (2, _FORMAT_2)])
def test_a_cache_of_an_earlier_format_is_extended_and_kept(
    tmp_path: Path, questions: list[Question], version: int, columns: str
) -> None:
    path, judge = tmp_path / "c.sqlite", Counting()
    first = ask(with_cache(judge, path), questions)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("drop table served")
        database.execute("alter table judgements rename to new")
        database.execute(f"create table judgements ({columns}) without rowid")
        names = ", ".join(row[1] for row in database.execute("pragma table_info(judgements)"))
        database.execute(f"insert into judgements select {names} from new")
        database.execute("drop table new")
        database.execute(f"pragma user_version = {version}")
    again = ask(with_cache(judge, path), questions)
    assert [j.raw for j in again] == [j.raw for j in first]
    assert judge.asked == len(questions)


class Served(FakeModel):
    """Rejects everything, as the model that its server says it is.

    Attributes:
        down: Every request fails from now on.
    """

    def __init__(self, served: str) -> None:
        def reply(talk: Conversation) -> Reply:
            if self.down:
                raise ModelSetupError("cannot be reached")
            return Reply(talk.key, "<think>Hm.</think>reject", answered_by=served)

        super().__init__(reply)
        self.down = False


def judged_by(model: FakeModel, path: Path, questions: Sequence[Question]) -> list[str]:
    """Return which model judged each question, through the cache."""
    found = ask(with_cache(ModelJudge(model, BUILTIN), path), questions)
    assert {judgement.outcome for judgement in found} == {Outcome.REJECT}
    return [judgement.answered_by for judgement in found]


def test_what_a_judge_thought_and_who_it_was_outlive_the_cache(
    tmp_path: Path, questions: list[Question]
) -> None:
    path = tmp_path / "c.sqlite"
    for _ in range(2):
        found = dict(with_cache(ModelJudge(Served("m-1"), BUILTIN), path).ask(questions[:2]))
        assert {(j.raw, j.thoughts, j.answered_by) for j in found.values()} == {
            ("reject", "Hm.", "m-1")
        }


def test_a_judgement_counts_only_if_the_server_says_the_same_model_as_then(
    tmp_path: Path, questions: list[Question], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.sqlite"
    assert judged_by(Served("m-1"), path, questions[:6]) == ["m-1"] * 6
    second = Served("m-2")
    assert judged_by(second, path, questions) == ["m-2"] * 10
    assert len(second.asked) == 10
    assert "now says that m-2 judges. 6 cached judgements of m-1 are not used" in caplog.text
    caplog.clear()
    again = Served("m-2")
    assert judged_by(again, path, questions) == ["m-2"] * 10
    assert len(again.asked) == 0
    assert caplog.text == ""


def test_the_judgements_of_each_model_stay_in_the_cache(
    tmp_path: Path, questions: list[Question]
) -> None:
    path = tmp_path / "c.sqlite"
    judged_by(Served("m-1"), path, questions[:8])
    judged_by(Served("m-2"), path, questions[2:9])
    back = Served("m-1")
    # Known of m-2: the third to ninth. The first two and the last are asked: now it is m-1 again.
    assert judged_by(back, path, questions) == ["m-1"] * 10
    assert len(back.asked) == 3 + 1


def test_a_cache_that_knows_everything_needs_no_server(
    tmp_path: Path, questions: list[Question]
) -> None:
    path, model = tmp_path / "c.sqlite", Served("m-1")
    judged_by(model, path, questions[:6])
    model.down = True
    assert judged_by(model, path, questions[:6]) == ["m-1"] * 6
    found = with_cache(ModelJudge(model, BUILTIN), path).ask(questions)
    known = [next(found)[0] for _ in range(6)]
    assert known == list(range(6))
    with pytest.raises(JudgeSetupError, match="cannot be reached"):
        next(found)


def test_a_server_that_names_no_model_uses_the_cache(
    tmp_path: Path, questions: list[Question]
) -> None:
    path = tmp_path / "c.sqlite"
    judged_by(Served(""), path, questions[:6])
    again = Served("")
    assert judged_by(again, path, questions) == [""] * 10
    assert len(again.asked) == 4


def test_a_failure_does_not_tell_who_judges(tmp_path: Path, questions: list[Question]) -> None:
    def failing(talk: Conversation) -> Reply:
        return Reply(talk.key, outcome=Outcome.FAILED, error="timeout")

    path = tmp_path / "c.sqlite"
    judged_by(Served("m-1"), path, questions[:6])
    found = ask(with_cache(ModelJudge(FakeModel(failing), BUILTIN), path), questions)
    assert [j.outcome for j in found] == [Outcome.REJECT] * 6 + [Outcome.FAILED] * 4


class Interrupted:
    """A database that an interrupt stops before or after it takes some rows."""

    def __init__(self, database: sqlite3.Connection, after: bool) -> None:
        self.database, self.after = database, after

    def __enter__(self) -> None:
        self.database.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.database.__exit__(*error)

    def executemany(self, *words: Any) -> None:
        if self.after:
            self.database.executemany(*words)
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_while_judgements_are_written_keeps_them(
    tmp_path: Path, questions: list[Question], after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.sqlite"
    with JudgeCache(path) as cache:
        for question in questions:
            cache.put("f1", question, Judgement(Outcome.REJECT))
        with monkeypatch.context() as stopping:
            stopping.setattr(cache, "_db", Interrupted(cache._db, after))
            with pytest.raises(KeyboardInterrupt):
                cache.flush()
    with JudgeCache(path) as cache:
        assert len(cache.get("f1", questions)) == len(questions) == 10
