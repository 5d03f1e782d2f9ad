"""Samples -> answers: one conversation per sample, consecutive samples sharing a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from spy_plugin.benchmark.records import Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.models.base import Conversation, Model, Reply
from spy_plugin.runs.answer_file import AnswerFile, StoredAnswer, settled
from spy_plugin.runs.resumable_file import RefusedStart
from spy_plugin.runs.sharding import by_picture

Progress = Callable[[StoredAnswer], None]


def open_samples(samples: Iterable[Sample], records: Mapping[str, StoredAnswer]) -> list[Sample]:
    """Those that are missing in a file's records, or failed, in the order in which to ask them."""
    done = {answer.sample_id for answer in records.values() if settled(answer)}
    return by_picture(sample for sample in samples if sample.sample_id not in done)


def conversations(
    samples: Iterable[Sample], benchmark: Benchmark, *, image_first: bool = True
) -> Iterator[Conversation]:
    """What the model is asked about each sample."""
    return (
        Conversation(sample.sample_id, benchmark.image_file(sample), (sample.prompt,), image_first)
        for sample in samples
    )


def generate(
    samples: Iterable[Sample],
    benchmark: Benchmark,
    model: Model,
    file: AnswerFile,
    *,
    image_first: bool = True,
    progress: Progress | None = None,
) -> None:
    """Ask the model what is open, appending each answer as it comes; closes the file.

    Args:
        samples: Those to be answered; the file may hold more.
        progress: Called with each answer after it was written.

    Raises:
        ModelSetupError: the model cannot be asked; what was answered before is kept. A new file is
            removed if nothing was.
        DataError: the file cannot be written.
    """
    asked = conversations(open_samples(samples, file.records), benchmark, image_first=image_first)
    model.worked_before = file.worked()
    with file, RefusedStart(file) as start:
        for reply in model.ask(asked):
            answer = stored_answer(reply)
            start.answered |= settled(answer)
            file.note_decoding(model.decoded_with)  # first: a killed run must not tell otherwise
            file.add(answer)
            if progress is not None:
                progress(answer)


def stored_answer(reply: Reply) -> StoredAnswer:
    """A reply as the file of answers keeps it."""
    return StoredAnswer(
        reply.key,
        reply.text,
        outcome=reply.outcome,
        error=reply.error,
        thoughts=reply.thoughts,
        answered_by=reply.answered_by,
        finish_reason=reply.finish_reason,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
    )
