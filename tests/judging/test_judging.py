"""From answers to a verdict file: complete, resumable, and correct about what it reused."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Answer, Outcome, Sample, Verdict
from spy_plugin.errors import DataError, JudgeSetupError
from spy_plugin.judging import Judge, Judgement, Question, judge_answers, load_verdicts
from spy_plugin.runs.stored_records import StoredRecords
from spy_plugin.scoring.verdicts import read_rows, read_verdicts
from tests.judging.conftest import make_samples


class Script(Judge):
    """Gives scripted judgements; records its questions."""

    def __init__(self, says: dict[str, Outcome] | None = None, fingerprint: str = "f1") -> None:
        self.name, self.fingerprint = "script", fingerprint
        self.says = says or {}
        self.asked: list[str] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        for index in reversed(range(len(questions))):
            answer = questions[index].answer
            self.asked.append(answer)
            outcome = self.says.get(answer, Outcome.RESPOND)
            yield index, Judgement(outcome, raw=f"raw {answer}")


class Broken(Script):
    """Loses its server after the first questions."""

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        for count, found in enumerate(super().ask(questions)):
            if count == 2:
                raise JudgeSetupError("the server is gone. Fix it.")
            yield found


def answers_to(samples: list[Sample]) -> list[Answer]:
    return [Answer(sample.sample_id, f"answer {n}") for n, sample in enumerate(samples)]


def test_every_sample_ends_once_in_sample_order(tmp_path: Path) -> None:
    samples, out = make_samples(5), tmp_path / "deep" / "v.jsonl"
    answers = answers_to(samples)
    answers[1] = Answer(samples[1].sample_id, "", Outcome.FILTERED, "the provider refused")
    answers[2] = Answer(samples[2].sample_id, "", Outcome.FAILED, "timeout")
    del answers[3]
    judge = Script({"answer 4": Outcome.REJECT})
    summary = judge_answers(samples, reversed(answers), judge, out)
    verdicts = load_verdicts(out)
    assert [v.sample_id for v in verdicts] == [samples[i].sample_id for i in (0, 1, 2, 4)]
    assert [v.outcome.value for v in verdicts] == ["respond", "filtered", "failed", "reject"]
    assert [v.error for v in verdicts[1:3]] == ["the provider refused", "timeout"]
    assert verdicts[3].raw == "raw answer 4"
    assert verdicts[3].answer == "answer 4"
    counts = {"respond": 1, "reject": 1, "unjudged": 0, "filtered": 1, "failed": 1}
    assert summary.outcomes == counts
    assert (summary.samples, summary.asked, summary.kept, summary.not_asked) == (5, 2, 0, 1)
    assert len(read_verdicts(out)) == 4


def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    samples = make_samples(6)
    answers = [Answer(s.sample_id, f"answer {n % 2}") for n, s in enumerate(samples)]
    judge = Script({"answer 1": Outcome.REJECT})
    summary = judge_answers(samples, answers, judge, tmp_path / "v.jsonl")
    assert (summary.asked, summary.saved_by_equality) == (2, 4)
    found = [v.outcome.value for v in load_verdicts(tmp_path / "v.jsonl")]
    assert found == ["respond", "reject"] * 3


def test_an_empty_answer_goes_to_the_judge(tmp_path: Path) -> None:
    samples, judge = make_samples(1), Script()
    judge_answers(samples, [Answer(samples[0].sample_id, "")], judge, tmp_path / "v.jsonl")
    assert judge.asked == [""]


def test_an_empty_answer_in_place_of_a_filtered_one_goes_to_the_judge(tmp_path: Path) -> None:
    samples, out, judge = make_samples(1), tmp_path / "v.jsonl", Script()
    filtered = Answer(samples[0].sample_id, "", Outcome.FILTERED, "the provider refused")
    judge_answers(samples, [filtered], judge, out)
    judge_answers(samples, [Answer(samples[0].sample_id, "")], judge, out)
    assert judge.asked == [""]
    assert [v.outcome.value for v in load_verdicts(out)] == ["respond"]


def test_of_several_turns_the_last_is_judged(tmp_path: Path) -> None:
    samples, judge = make_samples(1), Script()
    answer = Answer(samples[0].sample_id, "first", turns=("second", "third"))
    judge_answers(samples, [answer], judge, tmp_path / "v.jsonl")
    assert judge.asked == ["third"]


def test_a_second_run_judges_only_what_failed_is_new_or_has_another_answer(tmp_path: Path) -> None:
    samples, out = make_samples(5), tmp_path / "v.jsonl"
    answers = answers_to(samples)
    judge_answers(samples, answers[:4], Script({"answer 0": Outcome.FAILED}), out)
    answers[1] = Answer(samples[1].sample_id, "another")
    again = Script()
    summary = judge_answers(samples, answers, again, out)
    assert sorted(again.asked) == ["another", "answer 0", "answer 4"]
    assert summary.kept == 2
    assert Counter(v.sample_id for v in load_verdicts(out)) == {s.sample_id: 1 for s in samples}
    assert len(out.read_text().splitlines()) == 5
    idle = Script()
    assert judge_answers(samples, answers, idle, out).kept == 5
    assert idle.asked == []


def test_a_second_run_reads_the_earlier_verdicts_in_passes_and_writes_no_equal_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, out = make_samples(5), tmp_path / "v.jsonl"
    answers = answers_to(samples)[:4]
    answers[1] = Answer(samples[1].sample_id, "", Outcome.FILTERED, "the provider refused")
    answers[2] = Answer(samples[2].sample_id, "", Outcome.FAILED, "timeout")
    judge_answers(samples, answers, Script(), out)
    before = out.read_bytes()

    def look_up(_: object, key: str) -> None:
        raise AssertionError(f"{key} was looked up by itself")

    monkeypatch.setattr(StoredRecords, "__getitem__", look_up)
    written: list[Verdict] = []
    summary = judge_answers(samples, answers, Script(), out, progress=written.append)
    assert (summary.kept, summary.asked, summary.not_asked, written) == (2, 0, 1, [])
    assert out.read_bytes() == before
    answers[2] = Answer(samples[2].sample_id, "", Outcome.FAILED, "refused")
    judge_answers(samples, answers, Script(), out, progress=written.append)
    assert [(each.sample_id, each.error) for each in written] == [(samples[2].sample_id, "refused")]


def test_a_run_that_broke_off_is_gone_on_with(tmp_path: Path) -> None:
    samples, out = make_samples(5), tmp_path / "v.jsonl"
    with pytest.raises(JudgeSetupError):
        judge_answers(samples, answers_to(samples), Broken(), out)
    assert len(load_verdicts(out)) == 2
    judge = Script()
    summary = judge_answers(samples, answers_to(samples), judge, out)
    assert (summary.kept, len(judge.asked)) == (2, 3)


def test_a_torn_last_line_is_judged_again(tmp_path: Path) -> None:
    samples, out = make_samples(3), tmp_path / "v.jsonl"
    judge_answers(samples, answers_to(samples), Script(), out)
    out.write_bytes(out.read_bytes()[:-20])
    judge = Script()
    judge_answers(samples, answers_to(samples), judge, out)
    assert judge.asked == ["answer 2"]
    assert len(load_verdicts(out)) == 3


def test_the_last_verdict_of_a_sample_counts(tmp_path: Path) -> None:
    samples, out = make_samples(1), tmp_path / "v.jsonl"
    judge_answers(samples, answers_to(samples), Script({"answer 0": Outcome.FAILED}), out)
    first = out.read_text()
    judge_answers(samples, answers_to(samples), Script(), out)
    out.write_text(first + out.read_text())
    assert [v.outcome.value for v in load_verdicts(out)] == ["respond"]


def test_another_judge_may_not_go_on_with_the_file(tmp_path: Path) -> None:
    samples, out = make_samples(2), tmp_path / "v.jsonl"
    judge_answers(samples, answers_to(samples), Script(), out)
    before = out.read_bytes()
    with pytest.raises(DataError, match=r"begun by script \(f1\); this is script \(f2\)"):
        judge_answers(samples, answers_to(samples), Script(fingerprint="f2"), out)
    assert out.read_bytes() == before


def test_verdicts_on_other_samples_are_not_lost(tmp_path: Path) -> None:
    samples, out = make_samples(3), tmp_path / "v.jsonl"
    judge_answers(samples, answers_to(samples), Script(), out)
    before = out.read_bytes()
    with pytest.raises(DataError, match="other samples"):
        judge_answers(samples[:2], answers_to(samples[:2]), Script(), out)
    assert out.read_bytes() == before


def test_a_judge_that_forgets_or_repeats_spoils_nothing(tmp_path: Path) -> None:
    class Odd(Script):
        def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
            yield 0, Judgement(Outcome.REJECT)
            yield 0, Judgement(Outcome.RESPOND)

    samples, out = make_samples(2), tmp_path / "v.jsonl"
    judge_answers(samples, answers_to(samples), Odd(), out)
    assert [v.outcome.value for v in load_verdicts(out)] == ["reject", "failed"]


def test_rows_of_samples_that_were_not_asked_count_nowhere(tmp_path: Path) -> None:
    samples, out = make_samples(5), tmp_path / "v.jsonl"
    answers = answers_to(samples)[:3]
    first = judge_answers(samples, answers, Script(), out)
    assert (first.not_asked, first.kept) == (2, 0)
    again = judge_answers(samples, answers, Script(), out)
    assert (again.not_asked, again.kept, again.outcomes["failed"]) == (2, 3, 0)
    assert "not asked 2 of 5 samples" in again.lines()[-1]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["outcome"], row["error"]) for row in rows[3:]] == [("failed", "not asked")] * 2
    assert len(load_verdicts(out)) == len(read_verdicts(out)) == 3
    assert [len(part) for part in (read_rows(out).rows, read_rows(out).open)] == [3, 2]
    last = judge_answers(samples, answers_to(samples), Script(), out)
    assert (last.not_asked, last.kept, sum(last.outcomes.values())) == (0, 3, 5)


def test_a_verdict_whose_answer_is_gone_is_dropped(tmp_path: Path) -> None:
    samples, out = make_samples(3), tmp_path / "v.jsonl"
    judge_answers(samples, answers_to(samples), Script(), out)
    again = judge_answers(samples, answers_to(samples)[:2], Script(), out)
    assert (again.not_asked, sum(again.outcomes.values())) == (1, 2)
    assert [v.sample_id for v in load_verdicts(out)] == [s.sample_id for s in samples[:2]]


def test_an_answer_to_nothing_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stranger.*variant"):
        judge_answers(make_samples(1), [Answer("stranger", "x")], Script(), tmp_path / "v.jsonl")
    assert not (tmp_path / "v.jsonl").exists()


def test_a_file_that_is_no_verdict_file_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    out.write_text('{"sample_id": "x"}\n')
    with pytest.raises(DataError, match="line 1"):
        judge_answers(make_samples(1), [], Script(), out)
    assert out.read_text() == '{"sample_id": "x"}\n'


def test_a_full_disk_ends_in_one_clear_error_and_keeps_what_was_judged(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    samples, out = make_samples(50), tmp_path / "v.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot be written.*run again"):
            judge_answers(samples, answers_to(samples), Script(), out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = len(load_verdicts(out))
    assert 0 < kept < 50
    assert judge_answers(samples, answers_to(samples), Script(), out).kept == kept


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        judge_answers(make_samples(1), [], Script(), tmp_path / "file" / "v.jsonl")
    if os.geteuid() != 0:  # root can write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(DataError, match="cannot be written"):
            judge_answers(make_samples(1), [], Script(), tmp_path / "v.jsonl")


def test_the_summary_says_what_was_saved_and_warns_of_offline_judges(tmp_path: Path) -> None:
    samples, judge = make_samples(2), Script()
    judge.offline = True
    text = "\n".join(judge_answers(samples, answers_to(samples), judge, tmp_path / "v").lines())
    assert "not for reported scores" in text
    assert "asked 2, saved by equality 0, saved by cache 0" in text
    assert "respond 2, reject 0, unjudged 0, filtered 0, failed 0 of 2 samples" in text
