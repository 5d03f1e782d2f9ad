"""What a judge is: it is given questions with answers, and says respond or reject of each."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.files.text import storable
from spy_plugin.files.writing import Closing


@dataclass(frozen=True)
class Question:
    """What a judge sees of a sample and its answer; equal questions are asked once.

    Attributes:
        label: Label id, for example ``a31_passport``.
        label_words: The label in the release's words.
        question: The question about the picture, without the scenario around it.
        answer: What the model said; may be empty.
        truth: What the picture shows, where the judge is asked whether the answer tells it; empty
            where it gives a verdict.
    """

    label: str
    label_words: str
    question: str
    answer: str
    truth: str = ""

    @property
    def key(self) -> str:
        """First 16 hex digits of the SHA-256 of what the judge sees."""
        truth = (self.truth,) if self.truth else ()
        return digest(self.label_words, self.question, self.answer, *truth)


@dataclass(frozen=True)
class Judgement:
    """What became of a question to a judge. Its texts are made storable; see `files.text`.

    Attributes:
        outcome: `RESPOND`, `REJECT`, `UNJUDGED` (the judge's text is not a verdict, or the judge
            declined), or `FAILED` (the request failed: never a verdict).
        raw: The judge's own text.
        error: Why it failed, or why it is not a verdict.
        thoughts: What the judge thought aloud; not read.
        answered_by: The model that judged, by its server's own account; empty if unknown.
        cached: It came from the cache; the judge was not asked.
    """

    outcome: Outcome
    raw: str = ""
    error: str = ""
    thoughts: str = ""
    answered_by: str = ""
    cached: bool = False

    def __post_init__(self) -> None:
        for name in ("raw", "error", "thoughts", "answered_by"):
            object.__setattr__(self, name, storable(getattr(self, name)))


class Judge(Closing):
    """Base of all judges; close it after use.

    Attributes:
        name: For example ``rules`` or ``openai:gpt-4o-2024-11-20``.
        offline: True for judges for quick looks, whose scores must not be reported.
        fingerprint: 12 hex digits of the judge, its server's address, its settings and the
            protocol's judge prompt.
        server: Address of the server that is asked, without secrets; empty for none.
        worked_before: It has judged in an earlier sitting; see `models.base.Model`.
    """

    name: str
    offline: bool = False
    fingerprint: str
    server: str = ""
    worked_before: bool = False

    @abstractmethod
    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield (index of the question, judgement), each as soon as it is known, in any order.

        Raises:
            JudgeSetupError: the judge cannot be reached with the given options and keys.
        """

    def fingerprint_at(self, server: str) -> str:
        """The fingerprint that this judge has if the server at another address is asked."""
        return self.fingerprint

    def status(self) -> Mapping[str, int | str]:
        """What else a progress line shows of it; see `models.base.Model.status`."""
        return {}

    def close(self) -> None:
        """Release the model behind it, if there is one."""


def digest(*parts: str, length: int = 16) -> str:
    """First hex digits of the SHA-256 of some texts and of where one ends and the next begins."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:length]


def fingerprint(name: str, protocol: Protocol, *settings: str) -> str:
    """A judge's fingerprint: its name, its prompt, and what else may change its verdicts.

    Of the protocol, only what a judge sees counts: protocols that differ elsewhere share a cache.
    """
    thoughts = (protocol.thoughts,) if protocol.thoughts else ()
    return digest(name, protocol.judge_prompt, *settings, *thoughts, length=12)
