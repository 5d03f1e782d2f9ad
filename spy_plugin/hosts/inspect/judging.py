"""Our judge, asked by inspect one sample at a time, but in bulk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging import Judge, build_judge
from spy_plugin.judging.base import Judgement, Question
from spy_plugin.judging.build import default_judge

JUDGE_VARIABLE = "SPY_BENCH_JUDGE"
"""Environment variable that names the judge, as in lmms-eval."""


def build(name: str, benchmark: str, protocol: Protocol) -> Judge:
    """Return the named judge; else what `JUDGE_VARIABLE` names; else the benchmark's default.

    Raises:
        SpyBenchError: the judge cannot be built with these settings.
    """
    chosen = name or os.environ.get(JUDGE_VARIABLE) or default_judge(benchmark)
    return build_judge(chosen, protocol)


@dataclass
class _Waiting:
    question: Question
    judgement: Judgement | None = None


@dataclass
class BulkJudge:
    """Asks a judge, in one call, everything that came while its last call ran.

    Attributes:
        judge: Must not be asked by others meanwhile.
    """

    judge: Judge
    _waiting: list[_Waiting] = field(default_factory=list)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def ask(self, question: Question) -> Judgement:
        """Return the judgement; a judge that cannot be asked gives a failed one."""
        entry = _Waiting(question)
        self._waiting.append(entry)
        async with self._lock:
            if entry.judgement is None:
                group, self._waiting = self._waiting, []
                await anyio.to_thread.run_sync(self._ask, group)
        return entry.judgement or _failed("the judge gave no judgement")

    def _ask(self, group: Sequence[_Waiting]) -> None:
        questions = list(dict.fromkeys(entry.question for entry in group))
        found: dict[Question, Judgement] = {}
        try:
            for index, judgement in self.judge.ask(questions):
                found[questions[index]] = judgement
        except SpyBenchError as error:
            found = {question: _failed(str(error)) for question in questions} | found
        self.judge.worked_before = True
        for entry in group:
            entry.judgement = found.get(entry.question) or _failed("the judge gave no judgement")


def _failed(error: str) -> Judgement:
    return Judgement(Outcome.FAILED, error=error)
