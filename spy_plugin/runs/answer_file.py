"""The file of a run's answers: appended as they come, put in order at the end, never lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from spy_plugin.benchmark.records import Answer, Outcome, Sample, last_records, to_json
from spy_plugin.errors import DataError
from spy_plugin.files.jsonl import JsonlWriter
from spy_plugin.runs.identity import begin_or_go_on, run_file
from spy_plugin.runs.metadata import RunMetadata, Usage


@dataclass(frozen=True)
class StoredAnswer(Answer):
    """An answer as this package writes it, with the tokens it took, as the backend counts them."""

    input_tokens: int = 0
    output_tokens: int = 0


class AnswerFile:
    """A run's answers, those of earlier sittings included; a context manager while it is written.

    No other process may write the file from the beginning of this to the end of the `with`.

    Args:
        path: The file; may exist.
        run: What the answers are of; see `run_file`.
        samples: All that the file may hold, in the order that it has at the end.

    Attributes:
        answers: sample_id -> its answer as it stands.

    Raises:
        DataError: the file is of another run, holds other samples, is being written by another
            process, or cannot be written.
    """

    def __init__(self, path: Path, run: RunMetadata, samples: Sequence[Sample]) -> None:
        self.path, self.samples = path, samples
        self._writer: JsonlWriter | None = None
        with writing(path), ExitStack() as until_checked:
            self.run = begin_or_go_on(path, run)
            # Before the answers are read: from now on nobody else writes them.
            writer = until_checked.enter_context(JsonlWriter(path))
            self.answers, self._repeated = last_records(path, StoredAnswer)
            self._refuse_strangers()
            until_checked.pop_all()
        self._writer = writer

    def _refuse_strangers(self) -> None:
        known = {sample.sample_id for sample in self.samples}
        for sample_id in self.answers:
            if sample_id not in known:
                raise DataError(
                    "is no sample of this run",
                    "Give another file with --out.",
                    path=self.path,
                    where=f"sample {sample_id}",
                )

    def __enter__(self) -> AnswerFile:
        self._began, self._added = time.monotonic(), 0
        if self._writer is None:
            with writing(self.path):
                self._writer = JsonlWriter(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.path), self._opened as writer:
            self._writer = None
            self._write_run()
            self._put_in_order(writer)

    def add(self, answer: StoredAnswer) -> None:
        """Append one answer.

        Raises:
            DataError: it cannot be written; the answers before it are kept.
        """
        with writing(self.path):
            self._opened.write(to_json(answer))
        self._repeated += answer.sample_id in self.answers
        self._added += 1
        self.answers[answer.sample_id] = answer

    def outcomes(self) -> Counter[str]:
        """How many samples were answered, filtered, and failed, of those in the file."""
        return Counter(
            answer.outcome.value if answer.outcome else "answered"
            for answer in self.answers.values()
        )

    @property
    def _opened(self) -> JsonlWriter:
        if self._writer is None:
            raise RuntimeError(f"{self.path} is closed")
        return self._writer

    def _put_in_order(self, writer: JsonlWriter) -> None:
        """One record a sample, in the samples' order."""
        ids = [sample.sample_id for sample in self.samples if sample.sample_id in self.answers]
        if self._repeated or ids != list(self.answers):
            self.answers = {sample_id: self.answers[sample_id] for sample_id in ids}
            writer.replace(map(to_json, self.answers.values()))
            self._repeated = 0

    def _write_run(self) -> None:
        usage = self.run.usage.get("generate", Usage())
        answers = self.answers.values()
        total = Usage(
            requests=(usage.requests or 0) + self._added,
            input_tokens=sum(answer.input_tokens for answer in answers),
            output_tokens=sum(answer.output_tokens for answer in answers),
            seconds=(usage.seconds or 0.0) + time.monotonic() - self._began,
        )
        self.run = self.run.model_copy(
            update={
                "finished": datetime.now(timezone.utc),
                "usage": self.run.usage | {"generate": total},
                "answers": self.path.name,
            }
        )
        self.run.write(run_file(self.path))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do where a file cannot be written.

    Raises:
        DataError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror or error}); answers up to here are kept",
            "Make room, or make the folder writable, and run again.",
            path=path,
        ) from error


def settled(answer: Answer | None) -> bool:
    """Whether a sample need not be asked again: it was answered, or its provider refused it."""
    return answer is not None and answer.outcome is not Outcome.FAILED
