"""Judging through OpenAI's Batch API: half the price, an answer within a day.

`submit` uploads the open questions and returns at once; what was submitted is kept in a file
beside the verdicts, so the terminal may be closed. `status` looks, `collect` turns the results
into verdicts as any judge's are (https://platform.openai.com/docs/guides/batch).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError, JudgeSetupError, SpyBenchError
from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.batch_service import ENDPOINT, BatchService
from spy_plugin.judging.cache import CachedJudge
from spy_plugin.judging.model_judge import ModelJudge, read_verdict
from spy_plugin.judging.verdict_file import refuse_other_judge
from spy_plugin.models.completions import NoCompletionError, read_completion
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.runs.resumable_file import ResumableFile

if TYPE_CHECKING:
    from openai.types import Batch

logger = logging.getLogger(__name__)

MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
"""The service takes 50,000 requests and 200 MB a file."""

_SUBMIT = "Submit first, with the same --out; or delete the file if its batches are lost."
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True)
class Submitted:
    """A batch, as the file of what was submitted keeps it.

    Attributes:
        file: Id of its uploaded requests, which identifies it.
        id: The batch's id; empty until the service has confirmed it.
        keys: The keys of its questions.
        judge, judge_fingerprint: Who was asked.
    """

    file: str
    id: str
    keys: tuple[str, ...]
    judge: str
    judge_fingerprint: str


class Batches:
    """What was submitted for one file of verdicts.

    Args:
        judge: Builds the requests and reads the replies.
        model: The judge's.
        cache: Where results are kept for later runs, if anywhere.
        path: The file of what was submitted.
    """

    def __init__(
        self, judge: ModelJudge, model: OpenAIModel, cache: CachedJudge | None, path: Path
    ) -> None:
        self.judge, self.model, self.cache, self.path = judge, model, cache, path
        self._collected: list[Submitted] = []

    @classmethod
    def of(cls, judge: Judge, out: Path) -> Batches:
        """The batches for the verdict file `out`.

        Raises:
            JudgeSetupError: the judge is not behind OpenAI's API.
        """
        cache = judge if isinstance(judge, CachedJudge) else None
        inner = cache.judge if cache else judge
        if not isinstance(inner, ModelJudge) or not isinstance(inner.model, OpenAIModel):
            raise JudgeSetupError(
                f"judge {judge.name} has no batches. Use --judge openai:MODEL, or leave out "
                "--batch."
            )
        return cls(inner, inner.model, cache, out.with_name(f"{out.name}.batch.jsonl"))

    def submit(self, questions: Sequence[Question]) -> list[str]:
        """Submit what is neither in the cache nor in a batch already; returns lines to print.

        Raises:
            SpyBenchError: the service refused; what was submitted before is remembered.
        """
        with self._service() as service, self._open() as file:
            waiting = {key for batch in self._confirm(service, file) for key in batch.keys}
            known = self.cache.known(questions) if self.cache else set()
            todo = [
                question
                for index, question in enumerate(questions)
                if index not in known and question.key not in waiting
            ]
            lines = [
                f"{len(todo)} requests to submit, {len(known)} known from the cache, "
                f"{len(waiting)} in batches already"
            ]
            about = {"judge": self.judge.name[:500], "fingerprint": self.judge.fingerprint}
            for number, part in enumerate(self._parts(todo), 1):
                batch = Submitted(
                    file=service.upload(f"judge-{number}.jsonl", b"".join(b for _, b in part)),
                    id="",
                    keys=tuple(question.key for question, _ in part),
                    judge=self.judge.name,
                    judge_fingerprint=self.judge.fingerprint,
                )
                file.add(batch)  # before it is paid for: if we end now, its file finds it
                batch = replace(batch, id=service.start(batch.file, about))
                file.add(batch)
                lines.append(f"batch {batch.id}: {len(part)} requests")
        return [*lines, "look with --batch status; take the verdicts with --batch collect"]

    def status(self) -> list[str]:
        """One line per batch."""
        with self._service() as service:
            return [service.describe(state) for _, state in self._states(service)]

    def results(self) -> Judge:
        """A judge that answers from the results, under the name and fingerprint of the real one.

        Raises:
            SpyBenchError: a batch has not ended.
        """
        found: dict[str, Judgement] = {}
        with self._service() as service:
            batches = self._states(service)
            running = [state for _, state in batches if state.status not in _ENDED]
            if running:
                raise SpyBenchError(
                    f"{len(running)} of {len(batches)} batches have not ended "
                    f"({service.describe(running[0])}). Collect later."
                )
            for batch, state in batches:
                judgements = self._judgements(service, batch, state)
                found |= judgements
                if self._is_complete(service.describe(state), state, len(judgements)):
                    self._collected.append(batch)
        judge: Judge = _Results(self.judge, found)
        return CachedJudge(judge, self.cache.cache) if self.cache else judge

    def forget(self) -> None:
        """Leave out of the file what was collected, once its results are verdicts."""
        with self._open() as file:
            for batch in self._collected:
                file.discard(batch.file)
            empty = not file.records
        if empty:
            self.path.unlink(missing_ok=True)

    def _is_complete(self, about: str, state: Batch, results: int) -> bool:
        """Whether a batch brought what the service says it has; another is collected again."""
        if not state.output_file_id and not state.error_file_id:
            logger.warning("%s, without results", about)
            return True
        counts = state.request_counts
        expected = counts.completed + counts.failed if counts else 0
        if results >= max(1, expected):
            return True
        logger.warning(
            "%s: only %d results match its questions, so it is kept. Collect again; or delete %s "
            "and submit again, which is paid for again",
            about,
            results,
            self.path,
        )
        return False

    def _service(self) -> BatchService:
        return BatchService(self.model)

    def _open(self) -> ResumableFile[Submitted]:
        check = refuse_other_judge(self.judge, self.path)
        return ResumableFile(self.path, Submitted, "batches", key="file", check=check)

    def _parts(self, questions: Sequence[Question]) -> Iterator[list[tuple[Question, bytes]]]:
        part: list[tuple[Question, bytes]] = []
        size = 0
        for question in questions:
            line = self._line(question)
            if part and (len(part) >= MAX_REQUESTS or size + len(line) > MAX_BYTES):
                yield part
                part, size = [], 0
            part.append((question, line))
            size += len(line)
        if part:
            yield part

    def _line(self, question: Question) -> bytes:
        conversation = self.judge.conversation(question.key, question)
        request = {
            "custom_id": question.key,
            "method": "POST",
            "url": ENDPOINT,
            "body": {"model": self.model.model} | self.model.request(conversation),
        }
        return json.dumps(request).encode() + b"\n"

    def _confirm(self, service: BatchService, file: ResumableFile[Submitted]) -> list[Submitted]:
        """The batches in the file; one whose reply did not reach us is found by what it reads."""
        unconfirmed = [batch for batch in file.records.values() if not batch.id]
        ids = service.batch_ids() if unconfirmed else {}
        for batch in unconfirmed:
            if batch.file in ids:
                file.add(replace(batch, id=ids[batch.file]))
            else:  # it was never made
                file.discard(batch.file)
        return list(file.records.values())

    def _states(self, service: BatchService) -> list[tuple[Submitted, Batch]]:
        """Each batch that was submitted, and its state at the service."""
        if not self.path.exists():
            raise DataError("no batch was submitted", _SUBMIT, path=self.path)
        with self._open() as file:
            batches = self._confirm(service, file)
            if not batches:
                raise DataError("no batch was submitted", _SUBMIT, path=self.path)
            return [(batch, service.state(batch.id)) for batch in batches]

    def _judgements(
        self, service: BatchService, batch: Submitted, state: Batch
    ) -> dict[str, Judgement]:
        """Return the judgements in a batch's results, by the key of its question."""
        keys, found, foreign = set(batch.keys), {}, 0
        for file_id in (state.error_file_id, state.output_file_id):
            for row in service.rows(file_id) if file_id else ():
                key = str(row.get("custom_id"))
                if key in keys:
                    found[key] = self._judgement(key, row)
                else:
                    foreign += 1
        if foreign:
            logger.warning("%s: %d results are to other questions", batch.id, foreign)
        return found

    def _judgement(self, key: str, row: Mapping[str, Any]) -> Judgement:
        response = row.get("response")
        response = response if isinstance(response, dict) else {}
        body = response.get("body")
        if response.get("status_code") == 200:
            limit = self.model.decoding.max_tokens
            try:
                reply = read_completion(key, body, limit=limit, text_required=True)
                return read_verdict(self.model.chat.cleaned(reply))
            except NoCompletionError as error:
                return Judgement(Outcome.FAILED, error=self.model.chat.redact(str(error)))
        problem = row.get("error") or body or "no response"
        text = json.dumps(problem, ensure_ascii=False)
        return read_verdict(self.model.chat.refused(key, problem, f"in the batch: {text}"))


class _Results(Judge):
    """Judgements that a batch brought."""

    def __init__(self, judge: Judge, found: dict[str, Judgement]) -> None:
        self.name, self.fingerprint, self.server = judge.name, judge.fingerprint, judge.server
        self._judge, self.found = judge, found

    def fingerprint_at(self, server: str) -> str:
        """The real one's."""
        return self._judge.fingerprint_at(server)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield what was found; a question without a result has failed."""
        missing = Judgement(Outcome.FAILED, error="the batch holds no result for this question")
        for index, question in enumerate(questions):
            yield index, self.found.get(question.key, missing)
