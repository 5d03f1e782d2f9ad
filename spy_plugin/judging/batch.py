"""Judging through OpenAI's Batch API: half the price, an answer within a day.

`submit` uploads the open questions and returns at once; what was submitted is kept in a file
beside the verdicts, so the terminal may be closed. `status` looks, `collect` turns the results
into verdicts the way any judge's are (https://platform.openai.com/docs/guides/batch).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import DataError, JudgeSetupError, SpyBenchError
from spy_plugin.files.writing import write_atomically
from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.cache import CachedJudge
from spy_plugin.judging.completion import read_completion
from spy_plugin.judging.openai_judge import OpenAIJudge
from spy_plugin.models.openai_client import NoCompletionError

if TYPE_CHECKING:
    import openai

logger = logging.getLogger(__name__)

MAX_REQUESTS = 50_000
MAX_BYTES = 190_000_000
"""The service takes 50,000 requests and 200 MB a file."""

_SUBMIT = "Submit first, with the same --out; or delete the file if its batches are lost."
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class Batches:
    """What was submitted for one file of verdicts.

    Args:
        judge: Builds the requests and reads the replies.
        cache: Where results are kept for later runs, if anywhere.
        path: The file of what was submitted.
    """

    def __init__(self, judge: OpenAIJudge, cache: CachedJudge | None, path: Path) -> None:
        self.judge, self.cache, self.path = judge, cache, path

    @classmethod
    def of(cls, judge: Judge, out: Path) -> Batches:
        """The batches for the verdict file `out`.

        Raises:
            JudgeSetupError: the judge is not behind OpenAI's API.
        """
        cache = judge if isinstance(judge, CachedJudge) else None
        inner = cache.judge if cache else judge
        if not isinstance(inner, OpenAIJudge):
            raise JudgeSetupError(
                f"judge {judge.name} has no batches. Use --judge openai:MODEL, or leave out "
                "--batch."
            )
        return cls(inner, cache, out.with_name(f"{out.name}.batch.json"))

    def submit(self, questions: Sequence[Question]) -> list[str]:
        """Submit what is neither in the cache nor in a batch already; returns lines to print.

        Raises:
            SpyBenchError: the service refused; what was submitted before is remembered.
        """
        with self._client() as client:
            batches = self._submitted(client) if self.path.exists() else []
            waiting = {key for batch in batches for key in batch["keys"]}
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
                keys = [question.key for question, _ in part]
                batches.append({"id": "", "file": self._upload(client, part, number), "keys": keys})
                self._write(batches)  # before it is paid for: if we end now, its file finds it
                batches[-1]["id"] = self._start(client, batches[-1]["file"])
                self._write(batches)
                lines.append(f"batch {batches[-1]['id']}: {len(part)} requests")
        return [*lines, "look with --batch status; take the verdicts with --batch collect"]

    def status(self) -> list[str]:
        """One line a batch."""
        return [self._describe(batch) for batch in self._retrieve()]

    def results(self) -> Judge:
        """A judge that answers from the results, under the name and print of the real one.

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
        request = {
            "custom_id": question.key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": self._body(question),
        }
        return json.dumps(request).encode() + b"\n"

    def _body(self, question: Question) -> dict[str, Any]:
        body = {"model": self.judge.model} | self.judge.request(question)
        # `extra_body` is the client library's word for further fields; a file has no library.
        return body | dict(body.pop("extra_body", {}))

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

    def _submitted(self, client: openai.OpenAI) -> list[dict[str, Any]]:
        """The batches in the file; one whose reply did not reach us is found by what it reads."""
        import openai

        batches = self._read()
        if all(batch["id"] for batch in batches):
            return batches
        try:
            ids = {batch.input_file_id: batch.id for batch in client.batches.list(limit=100)}
        except openai.OpenAIError as error:
            raise self._refused(error) from None
        for batch in batches:
            batch["id"] = batch["id"] or ids.get(batch["file"], "")
        found = [batch for batch in batches if batch["id"]]
        self._write(found)
        return found

    def _retrieve(self) -> list[Any]:
        import openai

        with self._client() as client:
            batches = self._submitted(client)
            if not batches:
                raise DataError("no batch was submitted", _SUBMIT, path=self.path)
            try:
                return [client.batches.retrieve(batch["id"]) for batch in batches]
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
            except ValueError:
                logger.warning("line %d of result file %s is not JSON", number, file_id)
                continue
            if isinstance(row, dict):
                yield row

    def _judgements(self, rows: Iterator[dict[str, Any]]) -> dict[str, Judgement]:
        return {str(row.get("custom_id")): self._judgement(row) for row in rows}

    def _judgement(self, row: dict[str, Any]) -> Judgement:
        response = row.get("response")
        response = response if isinstance(response, dict) else {}
        body = response.get("body")
        if response.get("status_code") == 200:
            try:
                return read_completion(body)
            except NoCompletionError as error:
                return Judgement(Outcome.FAILED, error=str(error))
        problem = json.dumps(row.get("error") or body or "no response", ensure_ascii=False)
        if "content_filter" in problem:
            return Judgement(Outcome.UNJUDGED, error="the provider filtered the question")
        return Judgement(Outcome.FAILED, error=self.judge.chat.redact(f"in the batch: {problem}"))

    def _describe(self, batch: Any) -> str:
        counts = batch.request_counts
        done = f"{counts.completed} of {counts.total}, {counts.failed} failed" if counts else ""
        errors = getattr(batch.errors, "data", None) or []
        said = "; ".join(str(error.message) for error in errors)
        parts = [f"batch {batch.id}: {batch.status}", done, self.judge.chat.redact(said)]
        return ", ".join(part for part in parts if part)

    def _refused(self, error: Exception) -> SpyBenchError:
        # Raised `from None`: the library's error may hold what the server echoed, the key included.
        text = self.judge.chat.redact(f"{type(error).__name__}: {error}")
        return SpyBenchError(
            f"the batch service refused: {text}. Check JUDGE_API_KEY, JUDGE_BASE_URL and the "
            "model, and run again; what was submitted is remembered."
        )

    def _client(self) -> openai.OpenAI:
        return self.judge.chat.connect_sync()

    def _read(self) -> list[dict[str, Any]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            fingerprint, batches = content["fingerprint"], list(content["batches"])
        except FileNotFoundError as error:
            raise DataError("no batch was submitted", _SUBMIT, path=self.path) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"cannot be read ({error})", _SUBMIT, path=self.path) from error
        if fingerprint != self.judge.fingerprint:
            raise DataError(
                f"these batches were submitted for {content.get('judge')} ({fingerprint}); this is "
                f"{self.judge.name} ({self.judge.fingerprint})",
                "Use the same judge, protocol and judge options.",
                path=self.path,
            )
        return batches

    def _write(self, batches: list[dict[str, Any]]) -> None:
        content = {
            "judge": self.judge.name,
            "fingerprint": self.judge.fingerprint,
            "batches": batches,
        }
        write_atomically(self.path, json.dumps(content) + "\n")


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
