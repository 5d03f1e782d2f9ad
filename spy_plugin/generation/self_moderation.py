"""Answers -> answers after self-moderation: two more turns, each of them one batch.

The file holds each sample's state at all times. After turn 2 a sample stands there as failed, with
that turn's answer, until turn 3 is answered: a run that is killed loses nothing, and a file that
is judged too early counts nothing as moderated that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.generation.generate import Progress, replies_to
from spy_plugin.models.base import Backend, Conversation, Reply
from spy_plugin.runs.answer_file import AnswerFile, StoredAnswer, settled
from spy_plugin.runs.sharding import by_picture

TURNS = 2
"""After the first."""

_OPEN = "turn {} is not answered yet"


def open_samples(
    samples: Iterable[Sample], first: Mapping[str, Answer], file: AnswerFile
) -> list[Sample]:
    """Samples with a first answer whose moderation is missing, failed, or of another answer.

    In the order in which to ask them.
    """
    return by_picture(
        sample
        for sample in samples
        if sample.sample_id in first
        and not _holds(file.answers.get(sample.sample_id), first[sample.sample_id])
    )


def self_moderate(
    samples: Iterable[Sample],
    first: Mapping[str, Answer],
    benchmark: Benchmark,
    backend: Backend,
    file: AnswerFile,
    *,
    image_first: bool = True,
    progress: Progress | None = None,
) -> None:
    """Play turns 2 and 3 of every sample with a first answer, each turn in one batch.

    Args:
        first: The answers to turn 1; one that failed or was filtered keeps that outcome.
        progress: Called with each sample's record once it is settled, or has failed.

    Raises:
        ModelSetupError, DataError: as `generating.generate`.
    """
    todo = open_samples(samples, first, file)
    report: Progress = progress or (lambda answer: None)
    with file:
        for sample in todo:
            answer = _begin(first[sample.sample_id], file.answers.get(sample.sample_id))
            if answer != file.answers.get(sample.sample_id):
                file.add(answer)
            if _unanswerable(first[sample.sample_id]):
                report(answer)
        for turn in range(TURNS):
            playing = [s for s in todo if _may_play(file.answers[s.sample_id], first, turn)]
            conversations = _conversations(playing, turn, benchmark, file, image_first)
            for reply in replies_to(conversations, backend):
                answer = _after(file.answers[reply.sample_id], reply, turn)
                file.add(answer)
                if answer.outcome is not Outcome.FAILED or reply.outcome is not None:
                    report(answer)


def _holds(stored: StoredAnswer | None, first: Answer) -> bool:
    """The file's record is of this first answer, and needs no other turn."""
    if stored is None or _unanswerable(first):
        return stored is not None and _begin(first, None) == stored
    return settled(stored) and stored.response == first.response


def _unanswerable(first: Answer) -> bool:
    return first.outcome is not None


def _begin(first: Answer, stored: StoredAnswer | None) -> StoredAnswer:
    """The record before this sitting's turns: what is there of an earlier one is gone on with."""
    if _unanswerable(first):
        return StoredAnswer(
            first.sample_id, "", outcome=first.outcome, error=f"turn 1: {first.error}"
        )
    if stored is not None and stored.response == first.response and not settled(stored):
        return stored
    return StoredAnswer(
        first.sample_id, first.response, outcome=Outcome.FAILED, error=_OPEN.format(2)
    )


def _may_play(stored: StoredAnswer, first: Mapping[str, Answer], turn: int) -> bool:
    """Turn `turn` (0 for the second) is the next one of this sample."""
    return (
        not _unanswerable(first[stored.sample_id])
        and not settled(stored)
        and len(stored.turns) == turn
    )


def _conversations(
    samples: Iterable[Sample],
    turn: int,
    benchmark: Benchmark,
    file: AnswerFile,
    image_first: bool,
) -> Iterator[Conversation]:
    for sample in samples:
        stored = file.answers[sample.sample_id]
        questions = benchmark.protocol.self_moderation_turns(sample.prompt)
        said = [sample.prompt, stored.response, questions[0]]
        if turn:
            said += [stored.turns[0], questions[1]]
        yield Conversation(sample.sample_id, benchmark.image_file(sample), tuple(said), image_first)


def _after(stored: StoredAnswer, reply: Reply, turn: int) -> StoredAnswer:
    """The record after a reply to turn `turn`."""
    counted = replace(
        stored,
        input_tokens=stored.input_tokens + reply.input_tokens,
        output_tokens=stored.output_tokens + reply.output_tokens,
    )
    if reply.outcome is not None:
        return replace(counted, outcome=reply.outcome, error=f"turn {turn + 2}: {reply.error}")
    turns = (*stored.turns, reply.text)
    if len(turns) < TURNS:
        return replace(counted, turns=turns, outcome=Outcome.FAILED, error=_OPEN.format(3))
    return replace(counted, turns=turns, outcome=None, error="")
