"""Samples -> answers: one conversation a sample, a picture's samples in a row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator

from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.models.base import Backend, Conversation, Reply
from spy_plugin.runs.answer_file import AnswerFile, StoredAnswer, settled
from spy_plugin.runs.sharding import by_picture

logger = logging.getLogger(__name__)

Progress = Callable[[StoredAnswer], None]


def open_samples(samples: Iterable[Sample], file: AnswerFile) -> list[Sample]:
    """Those that are missing in the file, or failed, in the order in which to ask them."""
    return by_picture(
        sample for sample in samples if not settled(file.answers.get(sample.sample_id))
    )


def generate(
    samples: Iterable[Sample],
    benchmark: Benchmark,
    backend: Backend,
    file: AnswerFile,
    *,
    image_first: bool = True,
    progress: Progress | None = None,
) -> None:
    """Ask the backend what is open, appending each answer as it comes.

    Args:
        samples: Those to be answered; the file's own may be more.
        progress: Called with each answer after it was written.

    Raises:
        ModelSetupError: the model cannot be asked; what was answered before is kept.
        DataError: the file cannot be written.
    """
    conversations = (
        Conversation(sample.sample_id, benchmark.image_file(sample), (sample.prompt,), image_first)
        for sample in open_samples(samples, file)
    )
    with file:
        for reply in replies_to(conversations, backend):
            answer = StoredAnswer(
                reply.sample_id,
                reply.text,
                outcome=reply.outcome,
                error=reply.error,
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
            )
            file.add(answer)
            if progress is not None:
                progress(answer)


def replies_to(conversations: Iterable[Conversation], backend: Backend) -> Iterator[Reply]:
    """One reply for each conversation, even where a backend forgot or repeated some."""
    waiting: set[str] = set()

    def noted() -> Iterator[Conversation]:
        for conversation in conversations:
            waiting.add(conversation.sample_id)
            yield conversation

    replies = backend.answer(noted())
    try:
        for reply in replies:
            if reply.sample_id not in waiting:
                logger.warning("%s replied twice, or unasked, to %s", backend.name, reply.sample_id)
                continue
            waiting.remove(reply.sample_id)
            yield reply
    finally:
        # At once, not whenever the iterator is collected: it may have requests in flight.
        if isinstance(replies, Generator):
            replies.close()
    for sample_id in sorted(waiting):
        yield Reply(sample_id, outcome=Outcome.FAILED, error="the backend gave no reply")
