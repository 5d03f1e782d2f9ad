"""A judge that asks another only what no earlier run has asked it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.cache import JudgeCache

logger = logging.getLogger(__name__)


class CachedJudge(Judge):
    """A judge that is asked only what the cache does not know.

    A cached judgement counts only if the model that gave it is the one that judges now, both by the
    server's account. The first reply of a run tells which one judges now, so cached judgements are
    yielded after it. Where nothing is left to ask, nobody is asked, and the model that judged last
    counts: a run from the cache alone needs no server, and all its verdicts are one model's.
    """

    def __init__(self, judge: Judge, cache: Path) -> None:
        self.judge, self.cache = judge, cache
        self.name, self.offline, self.fingerprint = judge.name, judge.offline, judge.fingerprint
        self.server = judge.server

    def fingerprint_at(self, server: str) -> str:
        """The judge's."""
        return self.judge.fingerprint_at(server)

    def status(self) -> Mapping[str, int | str]:
        """The judge's."""
        return self.judge.status()

    def close(self) -> None:
        """Close the judge."""
        self.judge.close()

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield what the judge says, and after its first reply what is known."""
        with JudgeCache(self.cache) as cache:
            served = cache.served(self.fingerprint)
            known = cache.get(self.fingerprint, questions, served)
            unknown = [index for index in range(len(questions)) if index not in known]
            self.judge.worked_before = self.worked_before or bool(known)
            told = False
            outdated: list[int] = []
            try:
                for index, judgement in self._ask(cache, questions, unknown):
                    if not told and _tells_who_judges(judgement):
                        told, now = True, judgement.answered_by or served
                        if now != served:
                            known, outdated = self._of(now, known, questions, cache)
                        yield from known.items()
                    yield index, judgement
            except JudgeSetupError:
                if not told:
                    yield from known.items()
                raise
            if not told:
                yield from known.items()
            yield from self._ask(cache, questions, outdated)

    def expect(self, model: str) -> None:
        """Say which model judges now, by its server's account: other models' judgements are old."""
        with JudgeCache(self.cache) as cache:
            cache.note_served(self.fingerprint, model)

    def _of(
        self,
        model: str | None,
        known: Mapping[int, Judgement],
        questions: Sequence[Question],
        cache: JudgeCache,
    ) -> tuple[dict[int, Judgement], list[int]]:
        """Split what is known into what the model gave that judges now, and what is to be asked."""
        cache.note_served(self.fingerprint, model or "")
        indices = list(known)
        found = cache.get(self.fingerprint, [questions[index] for index in indices], model)
        of_it = {indices[place]: judgement for place, judgement in found.items()}
        outdated = [index for index in indices if index not in of_it]
        if outdated:
            others = sorted({known[index].answered_by for index in outdated})
            logger.warning(
                "%s: the server now says that %s judges. %d cached judgements of %s are not used; "
                "their questions are asked again.",
                self.name,
                model,
                len(outdated),
                ", ".join(others),
            )
        return of_it, outdated

    def _ask(
        self, cache: JudgeCache, questions: Sequence[Question], which: Sequence[int]
    ) -> Iterator[tuple[int, Judgement]]:
        """Ask the judge, and keep what it says."""
        for place, judgement in self.judge.ask([questions[i] for i in which]) if which else ():
            cache.put(self.fingerprint, questions[which[place]], judgement)
            yield which[place], judgement

    def known(self, questions: Sequence[Question]) -> set[int]:
        """Indices of the questions that need not be asked if the same model judges as before."""
        if not self.cache.exists():
            return set()
        with JudgeCache(self.cache) as cache:
            return set(cache.get(self.fingerprint, questions, cache.served(self.fingerprint)))


def _tells_who_judges(judgement: Judgement) -> bool:
    """Whether the model that judged is known, or will not be told: this server names none."""
    judged = judgement.outcome in (Outcome.RESPOND, Outcome.REJECT)
    return judged or bool(judgement.answered_by)
