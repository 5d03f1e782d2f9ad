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
from spy_plugin.judging.cache import CachedJudge
from spy_plugin.judging.model_judge import ModelJudge, read_verdict
from spy_plugin.judging.verdict_file import refuse_other_judge
from spy_plugin.models.completions import NoCompletionError, read_completion
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.runs.resumable_file import ResumableFile

if TYPE_CHECKING:
    import openai

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
        with self._client() as client, self._open() as file:
            waiting = {key for batch in self._confirm(client, file) for key in batch.keys}
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
            for number, part in enumerate(self._parts(todo), 1):
                batch = Submitted(
                    file=self._upload(client, part, number),
                    id="",
                    keys=tuple(question.key for question, _ in part),
                    judge=self.judge.name,
                    judge_fingerprint=self.judge.fingerprint,
                )
                file.add(batch)  # before it is paid for: if we end now, its file finds it
                batch = replace(batch, id=self._start(client, batch.file))
                file.add(batch)
                lines.append(f"batch {batch.id}: {len(part)} requests")
        return [*lines, "look with --batch status; take the verdicts with --batch collect"]

    def status(self) -> list[str]:
        """One line per batch."""
        return [self._describe(batch) for batch in self._retrieve()]

    def results(self) -> Judge:
        """A judge that answers from the results, under the name and fingerprint of the real one.

        Raises:
            SpyBenchError: a batch has not ended.
        """
        found: dict[str, Judgement] = {}
        batches = self._retrieve()
        running = [batch for batch in batches if batch.status not in _ENDED]
        if running:
            raise SpyBenchError(
                f"{len(running)} of {len(batches)} batches have not ended "
                f"({self._describe(running[0])}). Collect later."
            )
        with self._client() as client:
            for batch in batches:
                if not batch.output_file_id and not batch.error_file_id:
                    logger.warning("%s", self._describe(batch))
                for file_id in (batch.error_file_id, batch.output_file_id):
                    if file_id:
                        found |= self._judgements(self._download(client, file_id))
        judge: Judge = _Results(self.judge, found)
        return CachedJudge(judge, self.cache.cache) if self.cache else judge

    def forget(self) -> None:
        """Delete the file of what was submitted, once its results are verdicts."""
        self.path.unlink(missing_ok=True)

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
            "url": "/v1/chat/completions",
            "body": {"model": self.model.model} | self.model.request(conversation),
        }
        return json.dumps(request).encode() + b"\n"

    def _upload(
        self, client: openai.OpenAI, part: list[tuple[Question, bytes]], number: int
    ) -> str:
        import openai

        data = b"".join(line for _, line in part)
        try:
            return client.files.create(file=(f"judge-{number}.jsonl", data), purpose="batch").id
        except openai.OpenAIError as error:
            raise self._refused(error) from None

    def _start(self, client: openai.OpenAI, file_id: str) -> str:
        import openai

        try:
            # Once, without retries: a batch whose reply got lost would be paid for twice.
            batch = client.with_options(max_retries=0).batches.create(
                input_file_id=file_id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={"judge": self.judge.name[:500], "fingerprint": self.judge.fingerprint},
            )
        except openai.OpenAIError as error:
            raise self._refused(error) from None
        return batch.id

    def _confirm(self, client: openai.OpenAI, file: ResumableFile[Submitted]) -> list[Submitted]:
        """The batches in the file; one whose reply did not reach us is found by what it reads."""
        import openai

        unconfirmed = [batch for batch in file.records.values() if not batch.id]
        if unconfirmed:
            try:
                ids = {batch.input_file_id: batch.id for batch in client.batches.list(limit=100)}
            except openai.OpenAIError as error:
                raise self._refused(error) from None
            for batch in unconfirmed:
                if batch.file in ids:
                    file.add(replace(batch, id=ids[batch.file]))
                else:  # it was never made
                    file.discard(batch.file)
        return list(file.records.values())

    def _retrieve(self) -> list[Any]:
        import openai

        if not self.path.exists():
            raise DataError("no batch was submitted", _SUBMIT, path=self.path)
        with self._client() as client, self._open() as file:
            batches = self._confirm(client, file)
            if not batches:
                raise DataError("no batch was submitted", _SUBMIT, path=self.path)
            try:
                return [client.batches.retrieve(batch.id) for batch in batches]
            except openai.OpenAIError as error:
                raise self._refused(error) from None

    def _download(self, client: openai.OpenAI, file_id: str) -> Iterator[dict[str, Any]]:
        import openai

        try:
            text = client.files.content(file_id).text
        except openai.OpenAIError as error:
            raise self._refused(error) from None
        for number, line in enumerate(text.split("\n"), 1):
            try:
                row = json.loads(line) if line.strip() else None
            except (ValueError, RecursionError):
                logger.warning("line %d of result file %s is not JSON", number, file_id)
                continue
            if isinstance(row, dict):
                yield row

    def _judgements(self, rows: Iterator[dict[str, Any]]) -> dict[str, Judgement]:
        return {str(row.get("custom_id")): self._judgement(row) for row in rows}

    def _judgement(self, row: Mapping[str, Any]) -> Judgement:
        key, response = str(row.get("custom_id")), row.get("response")
        response = response if isinstance(response, dict) else {}
        body = response.get("body")
        if response.get("status_code") == 200:
            limit = self.model.decoding.max_tokens
            try:
                return read_verdict(read_completion(key, body, limit=limit, text_required=True))
            except NoCompletionError as error:
                return Judgement(Outcome.FAILED, error=self.model.chat.redact(str(error)))
        problem = row.get("error") or body or "no response"
        text = json.dumps(problem, ensure_ascii=False)
        return read_verdict(self.model.chat.refused(key, problem, f"in the batch: {text}"))

    def _describe(self, batch: Any) -> str:
        counts = batch.request_counts
        done = f"{counts.completed} of {counts.total}, {counts.failed} failed" if counts else ""
        errors = getattr(batch.errors, "data", None) or []
        said = "; ".join(str(error.message) for error in errors)
        parts = [f"batch {batch.id}: {batch.status}", done, self.model.chat.redact(said)]
        return ", ".join(part for part in parts if part)

    def _refused(self, error: Exception) -> SpyBenchError:
        # Raised `from None`: the library's error may hold what the server echoed, the key included.
        text = self.model.chat.redact(f"{type(error).__name__}: {error}")
        return SpyBenchError(
            f"the batch service refused: {text}. Check JUDGE_API_KEY, JUDGE_BASE_URL and the "
            "model, and run again; what was submitted is remembered."
        )

    def _client(self) -> openai.OpenAI:
        return self.model.chat.connect_sync()


class _Results(Judge):
    """Judgements that a batch brought."""

    def __init__(self, judge: Judge, found: dict[str, Judgement]) -> None:
        self.name, self.fingerprint = judge.name, judge.fingerprint
        self.found = found

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield what was found; a question without a result has failed."""
        missing = Judgement(Outcome.FAILED, error="the batch holds no result for this question")
        for index, question in enumerate(questions):
            yield index, self.found.get(question.key, missing)
