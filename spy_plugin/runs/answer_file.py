"""The file of a run's answers, and the run file beside it that says what they answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.errors import DataError
from spy_plugin.runs.identity import begin_or_resume, run_file
from spy_plugin.runs.metadata import Count, RunMetadata, Usage
from spy_plugin.runs.resumable_file import ResumableFile


@dataclass(frozen=True)
class StoredAnswer(Answer):
    """An answer as this package writes it.

    Attributes:
        thoughts: What the model thought aloud before it answered; never scored.
        answered_by: The model that answered, by its server's own account; empty if unknown.
        finish_reason: ``length`` for an answer that was cut at the limit of new tokens.
        input_tokens, output_tokens: As the backend counts them.
    """

    thoughts: str = ""
    answered_by: str = ""
    finish_reason: str = ""
    input_tokens: Count = 0
    output_tokens: Count = 0


class AnswerFile(ResumableFile[StoredAnswer]):
    """A run's answers, those of earlier sittings included.

    Args:
        path: The file; may exist.
        run: What the answers answer; see `identity.run_file`.
        samples: All that the file may hold, in its final order.
        other_server: Another server, or another model by its account, may answer now; the run file
            then names both.

    Attributes:
        run: As the run file has it, with what earlier sittings took.

    Raises:
        DataError: as `ResumableFile`.
    """

    run: RunMetadata

    def __init__(
        self,
        path: Path,
        run: RunMetadata,
        samples: Sequence[Sample],
        *,
        other_server: bool = False,
    ) -> None:
        self.samples, self._other_server = samples, other_server
        self._began, self._added = time.monotonic(), 0

        def begin() -> None:
            self.run = begin_or_resume(path, run, other_server=other_server)

        order = [sample.sample_id for sample in samples]
        super().__init__(path, StoredAnswer, "answers", order=order, check_run=begin)

    def __enter__(self) -> AnswerFile:
        self._began = time.monotonic()  # the time before is not the model's
        return self

    def add(self, record: StoredAnswer) -> None:
        """Append one answer.

        Raises:
            DataError: another model gave the answers of earlier sittings, by the server's account;
                or as `ResumableFile`.
        """
        before = self._answered_before
        known = {"", *before} if before else {record.answered_by}
        if record.answered_by not in known and not self._other_server:
            raise DataError(
                f"holds answers of {', '.join(before)}, but the server now says that "
                f"{record.answered_by} answers",
                "Name that model, give another file with --out, or record both with "
                "--other-server.",
                path=self.path,
            )
        super().add(record)
        self._added += 1

    def note_decoding(self, used: Mapping[str, Any]) -> None:
        """Write into the run file how answers were decoded, where that is not what was asked.

        Raises:
            DataError: the run file cannot be written.
        """
        options = self.run.options
        asked = options.get("requested_decoding") or options.get("decoding")
        now = options | {"decoding": dict(used)}
        if used != asked:
            now["requested_decoding"] = asked
        if now != options:
            self.run = self.run.model_copy(update={"options": now})
            with self._writing():
                self.run.write(run_file(self.path))

    def close(self) -> None:
        """Write what the run took, put the answers in order and unlock the file."""
        try:
            if not self.closed:
                with self._writing():
                    self._write_run()
        finally:
            super().close()

    def _beside(self) -> list[Path]:
        return [run_file(self.path)]

    def outcomes(self) -> Counter[str]:
        """How many samples were answered, filtered, and failed, of those in the file."""
        return Counter(
            answer.outcome.value if answer.outcome else "answered"
            for answer in self.records.values()
        )

    def answered_by(self) -> list[str]:
        """The models that answered, by the server's own account."""
        return sorted({a.answered_by for a in self.records.values() if a.answered_by})

    def worked(self) -> bool:
        """Whether the file holds an answer, so that the model was asked with success."""
        return any(answer.outcome is None for answer in self.records.values())

    @cached_property
    def _answered_before(self) -> list[str]:
        """The models that answered in earlier sittings."""
        return self.answered_by()

    def _write_run(self) -> None:
        usage = self.run.usage.get("generate", Usage())
        tokens_in = tokens_out = 0
        answered_by = set()
        for answer in self.records.values():
            tokens_in += answer.input_tokens
            tokens_out += answer.output_tokens
            answered_by.add(answer.answered_by)
        total = Usage(
            requests=(usage.requests or 0) + self._added,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            seconds=(usage.seconds or 0.0) + time.monotonic() - self._began,
        )
        self.run = self.run.model_copy(
            update={
                "finished": datetime.now(timezone.utc),
                "usage": self.run.usage | {"generate": total},
                "answers": self.path.name,
                "options": self.run.options | {"answered_by": sorted(answered_by - {""})},
            }
        )
        self.run.write(run_file(self.path))


def settled(answer: Answer | None) -> bool:
    """Whether a sample need not be asked again: it was answered, or its provider refused it."""
    return answer is not None and answer.outcome is not Outcome.FAILED
