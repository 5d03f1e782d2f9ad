"""Two more turns: one batch each, all three kept, nothing lost in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from spy_plugin.benchmark.answers import read_answers
from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.generation.self_moderation import self_moderate
from spy_plugin.models.base import Conversation, ModelSetupError, Reply
from spy_plugin.models.fake import FakeModel
from spy_plugin.runs.answer_file import AnswerFile

Open = Callable[..., AnswerFile]


@pytest.fixture
def first(samples: list[Sample]) -> dict[str, Answer]:
    return {s.sample_id: Answer(s.sample_id, f"first {n}") for n, s in enumerate(samples)}


@pytest.fixture
def open_moderated(open_file: Open) -> Open:
    return lambda: open_file(self_moderation=True)


def test_all_three_turns_are_played_and_kept(
    benchmark: Benchmark, samples: list[Sample], first: dict[str, Answer], open_moderated: Open
) -> None:
    backend, file = FakeModel(), open_moderated()
    self_moderate(samples, first, benchmark, backend, file)
    # One batch per turn: all second turns before any third turn.
    assert [len(talk.turns) for talk in backend.asked] == [3] * 40 + [5] * 40
    sample = samples[0]
    second, third = benchmark.protocol.self_moderation_turns(sample.prompt)
    said = {len(t.turns): t.turns for t in backend.asked if t.key == sample.sample_id}
    assert said[3] == (sample.prompt, "first 0", second)
    assert said[5] == (sample.prompt, "first 0", second, "turn 3", third)
    answers = read_answers(file.path)
    assert list(answers.by_id) == [s.sample_id for s in samples]
    assert answers.repeated == 0
    found = answers.by_id[sample.sample_id]
    assert (found.response, found.turns, found.scored) == (
        "first 0",
        ("turn 3", "turn 5"),
        "turn 5",
    )
    assert (file.run.self_moderation, file.run.dataset) == (True, "SPYBench_SELF_MOD")


def test_a_run_that_broke_off_in_turn_3_asks_no_turn_2_again(
    benchmark: Benchmark, samples: list[Sample], first: dict[str, Answer], open_moderated: Open
) -> None:
    def reply(talk: Conversation) -> Reply:
        if len(broken.asked) > 45:
            raise ModelSetupError("the server is gone. Fix it.")
        return Reply(talk.key, f"turn {len(talk.turns)}", input_tokens=1)

    broken = FakeModel(reply)
    file = open_moderated()
    with pytest.raises(ModelSetupError):
        self_moderate(samples, first, benchmark, broken, file)
    # A half-finished sample counts as failed if judged now, but is not lost.
    half = read_answers(file.path).by_id
    assert sum(answer.outcome is None for answer in half.values()) == 5
    undone = [answer for answer in half.values() if answer.outcome is Outcome.FAILED]
    assert {(a.error, a.turns) for a in undone} == {("turn 3 is not answered yet", ("turn 3",))}
    again, file = FakeModel(), open_moderated()
    self_moderate(samples, first, benchmark, again, file)
    assert [len(talk.turns) for talk in again.asked] == [5] * 35
    assert dict(file.outcomes()) == {"answered": 40}


def test_a_turn_that_fails_is_played_again_and_one_that_is_filtered_is_not(
    benchmark: Benchmark, samples: list[Sample], first: dict[str, Answer], open_moderated: Open
) -> None:
    fates = {
        (samples[0].sample_id, 3): Outcome.FAILED,
        (samples[1].sample_id, 5): Outcome.FAILED,
        (samples[2].sample_id, 3): Outcome.FILTERED,
        (samples[3].sample_id, 5): Outcome.FILTERED,
    }

    def reply(talk: Conversation) -> Reply:
        fate = fates.get((talk.key, len(talk.turns)))
        return Reply(talk.key, "" if fate else "x", fate, "why" if fate else "")

    file = open_moderated()
    self_moderate(samples, first, benchmark, FakeModel(reply), file)
    found = [file.records[sample.sample_id] for sample in samples[:5]]
    assert [a.outcome and a.outcome.value for a in found] == [
        "failed",
        "failed",
        "filtered",
        "filtered",
        None,
    ]
    assert [a.error for a in found] == ["turn 2: why", "turn 3: why"] * 2 + [""]
    assert [len(a.turns) for a in found] == [0, 1, 0, 1, 2]
    again, file = FakeModel(), open_moderated()
    self_moderate(samples, first, benchmark, again, file)
    asked = [(talk.key, len(talk.turns)) for talk in again.asked]
    assert sorted(asked) == sorted(
        [(samples[0].sample_id, 3), (samples[0].sample_id, 5), (samples[1].sample_id, 5)]
    )
    assert dict(file.outcomes()) == {"answered": 38, "filtered": 2}


def test_without_a_first_answer_there_is_no_other_turn(
    benchmark: Benchmark, samples: list[Sample], first: dict[str, Answer], open_moderated: Open
) -> None:
    ids = [sample.sample_id for sample in samples]
    first[ids[0]] = Answer(ids[0], "", Outcome.FAILED, "500")
    first[ids[1]] = Answer(ids[1], "", Outcome.FILTERED, "no")
    del first[ids[2]]
    backend, file = FakeModel(), open_moderated()
    self_moderate(samples, first, benchmark, backend, file)
    assert not set(backend.asked_keys) & set(ids[:3])
    assert ids[2] not in file.records
    assert [file.records[i].error for i in ids[:2]] == ["turn 1: 500", "turn 1: no"]
    # Only samples that were answered since are played.
    first |= {ids[0]: Answer(ids[0], "now"), ids[2]: Answer(ids[2], "now")}
    again, file = FakeModel(), open_moderated()
    self_moderate(samples, first, benchmark, again, file)
    assert sorted(set(again.asked_keys)) == sorted([ids[0], ids[2]])
    assert dict(file.outcomes()) == {"answered": 39, "filtered": 1}


def test_another_first_answer_is_moderated_anew(
    benchmark: Benchmark, samples: list[Sample], first: dict[str, Answer], open_moderated: Open
) -> None:
    self_moderate(samples, first, benchmark, FakeModel(), open_moderated())
    changed = samples[7].sample_id
    first[changed] = replace(first[changed], response="another")
    again, file = FakeModel(), open_moderated()
    self_moderate(samples, first, benchmark, again, file)
    assert again.asked_keys == [changed, changed]
    assert file.records[changed].response == "another"


def test_tokens_of_all_turns_are_counted(
    benchmark: Benchmark, samples: list[Sample], first: dict[str, Answer], open_moderated: Open
) -> None:
    backend = FakeModel(
        lambda talk: Reply(talk.key, "x", input_tokens=len(talk.turns), output_tokens=1)
    )
    file = open_moderated()
    self_moderate(samples, first, benchmark, backend, file)
    usage = file.run.usage["generate"]
    assert (usage.input_tokens, usage.output_tokens) == (40 * 8, 80)
