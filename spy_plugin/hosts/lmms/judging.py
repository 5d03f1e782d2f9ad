"""From a model's answers to verdicts, in bulk.

The host scores documents one by one in a few threads, which would take hours with a remote judge.
So scoring a document only notes its answer. When the first figure is computed, or when a rank sends
its part to the first one, all noted answers go to the judge together: equal questions once, many at
a time, through the cache.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from loguru import logger

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Answer, Outcome, Verdict, verdict_of
from spy_plugin.errors import JudgeSetupError, SpyBenchError
from spy_plugin.files.text import storable
from spy_plugin.hosts.answers import spoken_answer
from spy_plugin.hosts.judge_args import as_model_options, has_engine
from spy_plugin.hosts.lmms.samples import TASKS, benchmark_of, samples_of
from spy_plugin.judging import (
    HostModel,
    Judge,
    JudgeSummary,
    ModelJudge,
    build_judge,
    judge_answers,
    with_cache,
)
from spy_plugin.judging.build import default_judge
from spy_plugin.models.options import ModelOptions

JUDGE_VARIABLE = "SPY_BENCH_JUDGE"
ARGUMENTS_VARIABLE = "SPY_BENCH_JUDGE_ARGS"
"""Environment variable that names the judge (``rules``, ``openai:MODEL``, ...)."""

_FAILED_MARKS = ("[LMMS_EVAL_REQUEST_FAILED", "[LMMS_EVAL_BUDGET_EXCEEDED]")
_FILTER_MARKS = ("content_filter", "content_policy", "ResponsibleAIPolicyViolation")
_CHAT_PATH = "/chat/completions"


@dataclass
class Entry:
    """One sample of a task, with its answer and, once judged, its verdict."""

    task: str
    answer: Answer
    verdict: Verdict | None = None

    def judged(self) -> Verdict:
        """Return the verdict; judge all noted answers of the task if there is none yet."""
        if self.verdict is None:
            batch(self.task).judge()
        assert self.verdict is not None  # `judge` gives every noted entry one
        return self.verdict


@dataclass
class Batch:
    """The noted answers of one task."""

    task: str
    entries: dict[str, Entry] = field(default_factory=dict)
    summary: JudgeSummary | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: Answer) -> Entry:
        """Note an answer; of repeated answers to one sample the first is judged."""
        with self._lock:
            return self.entries.setdefault(answer.sample_id, Entry(self.task, answer))

    def judge(self) -> None:
        """Give every noted entry a verdict; all fail if the judge cannot be built."""
        with self._lock:
            if not self.entries:
                return
            entries, self.entries = self.entries, {}
            samples = [s for s in samples_of(self.task).values() if s.sample_id in entries]
            try:
                found = self._ask(samples, entries)
            except SpyBenchError as error:
                logger.error("{}: answers could not be judged: {}", self.task, error)
                found = {
                    s.sample_id: verdict_of(s, Outcome.FAILED, error=str(error)) for s in samples
                }
            for sample_id, entry in entries.items():
                entry.verdict = found[sample_id]

    def _ask(self, samples: list[Any], entries: dict[str, Entry]) -> dict[str, Verdict]:
        found: dict[str, Verdict] = {}

        def keep(verdict: Verdict) -> None:
            found[verdict.sample_id] = verdict

        with (
            judge_of(self.task) as judge,
            tempfile.TemporaryDirectory(prefix="spy-bench-") as folder,
        ):
            self.summary = judge_answers(
                samples,
                [entry.answer for entry in entries.values()],
                judge,
                Path(folder) / "verdicts.jsonl",
                progress=keep,
            )
        for line in self.summary.lines():
            logger.info("{}: {}", self.task, line)
        return found


@cache
def batch(task: str) -> Batch:
    """Return the batch of a task in this process."""
    return Batch(task)


def is_failure(text: str) -> bool:
    """Return whether a text is the host's mark of a missing answer."""
    return text.startswith(_FAILED_MARKS)


def read_answer(sample_id: str, response: Any) -> Answer:
    """Return the host's response as an answer.

    Args:
        response: A text, or a list with the text of each turn; a backend that got no answer returns
            a marked text instead, which becomes an outcome.
    """
    turns = [str(turn or "") for turn in response] if isinstance(response, list) else []
    texts = turns or [str(response or "")]
    for text in texts:
        if is_failure(text):
            filtered = any(mark in text for mark in _FILTER_MARKS)
            outcome = Outcome.FILTERED if filtered else Outcome.FAILED
            return Answer(sample_id, "", outcome=outcome, error=storable(text))
    return spoken_answer(sample_id, texts)


def judge_of(task: str) -> Judge:
    """Return the judge of a task.

    `JUDGE_VARIABLE` comes first. Without it the embedded benchmarks are judged by rules, and the
    official one by our settings (JUDGE_MODEL, JUDGE_BASE_URL, JUDGE_API_KEY) or else lmms-eval's
    own (API_TYPE, MODEL_VERSION, OPENAI_API_URL, OPENAI_API_KEY). `ARGUMENTS_VARIABLE` holds
    further settings of ours, see `hosts.judge_args`.

    Raises:
        JudgeSetupError: the judge cannot be built with these settings.
    """
    protocol = benchmark_of(task).protocol
    name = os.environ.get(JUDGE_VARIABLE) or default_judge(TASKS[task].benchmark)
    if name in ("rules", "minilm"):
        return build_judge(name, protocol)
    api_type = os.environ.get("API_TYPE", "openai").lower().removeprefix("async_")
    if name is None and api_type != "openai":
        return _host_judge(api_type, protocol)
    if name is None and not os.environ.get("JUDGE_MODEL"):
        name = os.environ.get("MODEL_VERSION") or None
    options = ModelOptions(**as_model_options(name, _arguments()))
    url = os.environ.get("OPENAI_API_URL", "")
    if url and not has_engine(name) and not os.environ.get("JUDGE_BASE_URL"):
        key = os.environ.get("JUDGE_API_KEY") or os.environ.get("OPENAI_API_KEY") or None
        options = replace(options, base_url=url.removesuffix(_CHAT_PATH), api_key=key)
    return build_judge(name, protocol, options)


def _arguments() -> dict[str, Any]:
    """Return the settings of the judge in `ARGUMENTS_VARIABLE`.

    Raises:
        JudgeSetupError: it holds no JSON object.
    """
    text = os.environ.get(ARGUMENTS_VARIABLE) or "{}"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise JudgeSetupError(
            f'{ARGUMENTS_VARIABLE} holds no JSON object. Set it as in \'{{"ray": "local"}}\'.'
        )
    return found


class _HostServer:
    """A judge of lmms-eval that we have no backend for (azure, bedrock, local)."""

    def __init__(self, api_type: str, model: str) -> None:
        from lmms_eval.llm_judge import Request, ServerConfig, get_server

        self.model = f"{api_type}:{model}"
        self._request = Request
        self._server = get_server(api_type, ServerConfig(model_name=model))

    def generate(self, message: str) -> str:
        """Answer one prompt."""
        request = self._request(messages=[{"role": "user", "content": message}])
        return str(self._server.evaluate(request).content)


def _host_judge(api_type: str, protocol: Protocol) -> Judge:
    model = os.environ.get("MODEL_VERSION") or "gpt-4o-2024-11-20"
    try:
        server = _HostServer(api_type, model)
    except Exception as error:
        raise SpyBenchError(
            f"lmms-eval could not build its judge for API_TYPE={api_type} "
            f"({type(error).__name__}). Set what that provider needs, or {JUDGE_VARIABLE}=rules "
            "for a quick look."
        ) from error
    return with_cache(ModelJudge(HostModel(server, concurrency=16), protocol))


def check_judge(task: str) -> None:
    """Build the judge to find errors before generation, unless only answers are wanted.

    Raises:
        SpyBenchError: the judge cannot be built.
    """
    if not {"--predict_only", "-x"} & set(sys.argv):
        judge_of(task)
