"""Answers -> answers after self-moderation: the later turns, each of them one batch.

The file holds each sample's state at all times. Until its last turn is answered, a sample is kept
as failed, with the turns so far: a killed run keeps every turn, and a file that is judged too
early counts nothing as moderated that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from spy_plugin.benchmark.protocol import SELF_MODERATION_TURNS
from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.generation.generate import Progress
from spy_plugin.models.base import Conversation, Model, Reply
from spy_plugin.runs.answer_file import AnswerFile, StoredAnswer, settled
from spy_plugin.runs.resumable_file import RefusedStart
from spy_plugin.runs.sharding import by_picture

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
        and not _holds(file.records.get(sample.sample_id), first[sample.sample_id])
    )


def self_moderate(
    samples: Iterable[Sample],
    first: Mapping[str, Answer],
    benchmark: Benchmark,
    model: Model,
    file: AnswerFile,
    *,
    image_first: bool = True,
    progress: Progress | None = None,
) -> None:
    """Play the later turns of every sample with a first answer, each turn in one batch.

    Args:
        first: The answers to turn 1; one that failed or was filtered keeps that outcome.
        progress: Called with each sample's record once it is settled, or has failed.

    Raises:
        ModelSetupError, DataError: as `generate.generate`.
    """
    todo = open_samples(samples, first, file)
    report: Progress = progress or (lambda answer: None)
    model.worked_before = any(answer.outcome is None for answer in first.values())
    with file, RefusedStart(file) as start:
        for sample in todo:
            stored = file.records.get(sample.sample_id)
            answer = _begin(first[sample.sample_id], stored)
            if answer != stored:
                file.add(answer)
            if _unanswerable(first[sample.sample_id]):
                report(answer)
        for turn in range(2, SELF_MODERATION_TURNS + 1):
            records = zip(todo, file.records.read(s.sample_id for s in todo), strict=True)
            playing = [sample for sample, answer in records if _may_play(answer, first, turn)]
            asked: dict[str, StoredAnswer] = {}
            for reply in model.ask(_conversations(playing, benchmark, file, image_first, asked)):
                answer = _after(asked.pop(reply.key), reply, turn)
                start.answered |= reply.outcome is not Outcome.FAILED
                file.note_decoding(model.decoded_with)  # first, as in `generate`
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
    """The record before this sitting's turns: what an earlier sitting left is resumed."""
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
    """Whether `turn`, counted from 1, is the next one of this sample."""
    return (
        not _unanswerable(first[stored.sample_id])
        and not settled(stored)
        and len(stored.turns) == turn - 2
    )


def _conversations(
    samples: Sequence[Sample],
    benchmark: Benchmark,
    file: AnswerFile,
    image_first: bool,
    asked: dict[str, StoredAnswer],
) -> Iterator[Conversation]:
    """Each sample's conversation up to the question of its next turn.

    Args:
        asked: Gets the record before that turn, by sample_id.
    """
    records = file.records.read(sample.sample_id for sample in samples)
    for sample, stored in zip(samples, records, strict=True):
        asked[sample.sample_id] = stored
        questions = benchmark.protocol.self_moderation_turns(sample.prompt)
        said = [sample.prompt]
        for answer, question in zip((stored.response, *stored.turns), questions, strict=False):
            said += [answer, question]
        yield Conversation(sample.sample_id, benchmark.image_file(sample), tuple(said), image_first)


def _after(stored: StoredAnswer, reply: Reply, turn: int) -> StoredAnswer:
    """The record after a reply to `turn`."""
    counted = replace(
        stored,
        input_tokens=stored.input_tokens + reply.input_tokens,
        output_tokens=stored.output_tokens + reply.output_tokens,
        thoughts=reply.thoughts,
        answered_by=reply.answered_by,
        finish_reason=reply.finish_reason,
    )
    if reply.outcome is not None:
        return replace(counted, outcome=reply.outcome, error=f"turn {turn}: {reply.error}")
    turns = (*stored.turns, reply.text)
    if turn < SELF_MODERATION_TURNS:
        error = _OPEN.format(turn + 1)
        return replace(counted, turns=turns, outcome=Outcome.FAILED, error=error)
    return replace(counted, turns=turns, outcome=None, error="")
