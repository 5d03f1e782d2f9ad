"""The judge's question whether private answers tell the true value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.labels import ABSOLUTE_LABELS
from spy_plugin.benchmark.records import Answer, Outcome, Sample, Scenario
from spy_plugin.errors import DataError, JudgeSetupError
from spy_plugin.judging import Judge, Question, judge_answers, load_verdicts, with_cache
from spy_plugin.judging.disclosure import (
    PROMPT,
    disclosure_judge,
    disclosure_prompt,
    judge_disclosures,
    may_disclose,
    parse_told,
)
from tests.judging.conftest import make_samples
from tests.judging.disclosures import ASKS, about_disclosures, judged, told
from tests.models.faulty_server import FaultyServer, Reply, completion, error

Serve = Callable[..., FaultyServer]
JudgeAt = Callable[..., Judge]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", Outcome.RESPOND),
        ("No.", Outcome.REJECT),
        ("**Yes**, there is no doubt", Outcome.RESPOND),
        ("No. Yes would be wrong.", Outcome.REJECT),
        ('{"label": "no"}', Outcome.REJECT),
        ("The word is: yes", Outcome.RESPOND),
        ("It is yes and no", Outcome.UNJUDGED),
        ("I do not know, nothing", Outcome.UNJUDGED),
        ("", Outcome.UNJUDGED),
        ("respond", Outcome.UNJUDGED),
    ],
)
def test_the_first_word_counts_else_the_only_one(text: str, expected: Outcome) -> None:
    assert parse_told(text) is expected


def test_the_question_holds_the_true_value_and_leaves_braces_alone() -> None:
    question = Question("a", "a label", "Which {0}?", "{answer}", "{gt} 5")
    text = disclosure_prompt(question)
    assert "\nQuestion: Which {0}?\nTrue value: {gt} 5\nAssistant: {answer}\n" in text
    other, verdict = replace(question, truth="6"), replace(question, truth="")
    assert len({question.key, other.key, verdict.key}) == 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"gt": ""}, False),
        ({"is_privacy": 0}, True),  # an absolute label
        ({"is_privacy": 0, "label": "a19_name_full"}, False),
        ({"label": "a19_name_full"}, True),
        ({"label": "a19_name_full", "scenario": Scenario("s", 0)}, False),
        ({"label": "a19_name_full", "scenario": Scenario("s", 1)}, True),
    ],
)
def test_private_samples_with_a_true_value_can_be_disclosed(
    changes: dict[str, Any], expected: bool
) -> None:
    sample = replace(make_samples(1)[0], **{"gt": "X1"} | changes)
    assert may_disclose(sample, ABSOLUTE_LABELS) is expected


def few(count: int) -> tuple[list[Sample], list[Answer]]:
    samples = [replace(s, gt=f"X{n}") for n, s in enumerate(make_samples(count))]
    return samples, [Answer(s.sample_id, f"{s.gt} it is") for s in samples]


def test_another_true_value_answer_or_prompt_is_asked_again(
    serve: Serve, judge_at: JudgeAt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, answers = few(4)
    server, out = serve(judged), tmp_path / "v.jsonl"
    judge = judge_at(server)

    def ask() -> tuple[int, int]:
        judge_answers(samples, answers, judge, out)
        found = judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
        return found.asked, found.told["yes"]

    assert ask() == (4, 4)
    samples[0] = replace(samples[0], gt="other")
    assert ask() == (1, 3)
    answers[1] = Answer(samples[1].sample_id, "it is something else")
    assert ask() == (1, 2)
    monkeypatch.setattr("spy_plugin.judging.disclosure.PROMPT", PROMPT.replace("compare", "match"))
    server.script = lambda *_: completion("yes")
    assert ask() == (4, 4)


def test_equal_questions_are_asked_once(serve: Serve, judge_at: JudgeAt, tmp_path: Path) -> None:
    samples, _ = few(3)
    samples = [replace(s, gt="X") for s in samples]
    answers = [Answer(s.sample_id, "X it is") for s in samples]
    server, out = serve(judged), tmp_path / "v.jsonl"
    judge = judge_at(server)
    judge_answers(samples, answers, judge, out)
    found = judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
    assert (found.answers, found.asked, found.saved_by_equality) == (3, 1, 2)
    assert len(about_disclosures(server)) == 1
    assert list(told(out).values()) == ["yes"] * 3


def served(text: str, model: str) -> Reply:
    reply = completion(text)
    return replace(reply, body=str(reply.body).replace('"served"', f'"{model}"'))


def test_cached_words_of_another_model_than_the_one_that_judged_are_not_used(
    serve: Serve, judge_at: JudgeAt, tmp_path: Path
) -> None:
    samples, answers = few(2)
    server = serve(lambda *_: served("respond yes", "m-1"))
    for number, model in enumerate(("m-1", "m-2")):
        out = tmp_path / f"{number}.jsonl"
        server.script = lambda body, _, model=model: served(
            "yes" if body["messages"][0]["content"].startswith(ASKS) else "respond", model
        )
        if model == "m-2":
            answers = [Answer(a.sample_id, a.response) for a in answers]
            judge_answers(samples, answers, judge_at(server), out)  # without the cache
        judge = with_cache(judge_at(server), tmp_path / "c.sqlite")
        judge_answers(samples, answers, judge, out)
        found = judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
        assert (found.asked, found.answered_by) == (2, [model])


def test_a_model_that_changes_between_the_passes_is_refused(
    serve: Serve, judge_at: JudgeAt, tmp_path: Path
) -> None:
    samples, answers = few(2)
    server, out = serve(lambda *_: served("respond", "m-1")), tmp_path / "v.jsonl"
    judge = judge_at(server)
    judge_answers(samples, answers, judge, out)
    server.script = lambda *_: served("yes", "m-2")
    with pytest.raises(DataError, match=r"holds verdicts of m-1, but .* m-2 judges"):
        judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
    assert told(out) == {}
    found = judge_disclosures(
        samples, judge, out, absolute_labels=ABSOLUTE_LABELS, other_server=True
    )
    assert found.answered_by == ["m-2"]


def test_another_server_is_asked_only_what_the_first_was_not(
    serve: Serve, judge_at: JudgeAt, tmp_path: Path
) -> None:
    samples, answers = few(4)
    out, first, second = tmp_path / "v.jsonl", serve(judged), serve(judged)
    judge = judge_at(first)
    judge_answers(samples, answers[:3], judge, out)
    judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
    other = judge_at(second)
    judge_answers(samples, answers, other, out, other_server=True)
    with pytest.raises(DataError, match="--other-server"):
        judge_disclosures(samples, other, out, absolute_labels=ABSOLUTE_LABELS)
    found = judge_disclosures(
        samples, other, out, absolute_labels=ABSOLUTE_LABELS, other_server=True
    )
    assert (found.kept, found.asked) == (3, 1)
    assert len(about_disclosures(second)) == 1
    assert len({v.disclosure.fingerprint for v in load_verdicts(out) if v.disclosure}) == 2


def test_a_server_that_is_gone_leaves_the_verdicts(
    serve: Serve, judge_at: JudgeAt, tmp_path: Path
) -> None:
    samples, answers = few(3)
    server, out = serve(judged), tmp_path / "v.jsonl"
    judge = judge_at(server)
    judge_answers(samples, answers, judge, out)
    server.script = lambda *_: error(401, "no such key")
    with pytest.raises(JudgeSetupError, match="cannot be asked"):
        judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
    assert {v.outcome for v in load_verdicts(out)} == {Outcome.RESPOND}
    assert set(told(out).values()) <= {"failed"}
    server.script = judged
    found = judge_disclosures(samples, judge, out, absolute_labels=ABSOLUTE_LABELS)
    assert (found.asked, found.told["yes"]) == (3, 3)


def test_the_judge_of_disclosures_has_a_fingerprint_of_its_own(
    serve: Serve, judge_at: JudgeAt
) -> None:
    judge = judge_at(serve(judged))
    asked = disclosure_judge(judge)
    assert (asked.name, asked.server) == (judge.name, judge.server)
    assert asked.fingerprint != judge.fingerprint
    assert asked.fingerprint_at("http://elsewhere/v1") != asked.fingerprint
    assert disclosure_judge(judge_at(serve(judged))).fingerprint != asked.fingerprint
