"""A judge that is a model, the protocol's prompt, and a parser of what the model replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question, fingerprint
from spy_plugin.models.base import REFUSAL, Conversation, Model, ModelSetupError, Reply

_THOUGHT_START, _THOUGHT_END = "<think>", "</think>"


class ModelJudge(Judge):
    """Ask a model about each question, in a conversation without a picture.

    Args:
        model: Closed with the judge.
        protocol: Gives the judge prompt.
    """

    def __init__(self, model: Model, protocol: Protocol) -> None:
        self.model, self.protocol = model, protocol
        self.name = model.name
        identity = json.dumps(model.identity, sort_keys=True, default=str)
        self.fingerprint = fingerprint(self.name, protocol, identity)

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements as the model replies.

        Raises:
            JudgeSetupError: the model cannot be asked. What was yielded before stands.
        """
        conversations = (
            self.conversation(str(index), question) for index, question in enumerate(questions)
        )
        try:
            for reply in self.model.ask(conversations):
                yield int(reply.key), read_verdict(reply)
        except ModelSetupError as error:
            raise JudgeSetupError(str(error)) from None

    def conversation(self, key: str, question: Question) -> Conversation:
        """What the model is asked about a question."""
        prompt = self.protocol.judge_question(
            question.label_words, question.question, question.answer
        )
        return Conversation(key, None, (prompt,), text_required=True)

    def close(self) -> None:
        """Close the model."""
        self.model.close()


def read_verdict(reply: Reply) -> Judgement:
    """The judgement in a model's reply.

    A judge whose question or reply the provider filtered, or that declined in the API's own way,
    has not judged; a failed request is never a verdict.
    """
    if reply.outcome is Outcome.FILTERED:
        return Judgement(Outcome.UNJUDGED, error=reply.error)
    if reply.outcome is not None:
        return Judgement(Outcome.FAILED, error=reply.error)
    if reply.finish_reason == REFUSAL:
        return Judgement(Outcome.UNJUDGED, raw=reply.text, error="the judge declined to judge")
    return read_verdict_text(reply.text)


def read_verdict_text(text: str) -> Judgement:
    """The paper's reading of a judge's words; text without a verdict in it is `UNJUDGED`.

    What a reasoning model thinks aloud (``<think>...</think>``), where its server leaves it in, is
    not a verdict: only what follows is read. The raw text is kept whole.
    """
    # Here, because every host imports this module, and that one imports numpy.
    from spy_plugin.scoring.verdicts import parse_verdict_text

    thought, closed, said = text.rpartition(_THOUGHT_END)
    if not closed and _THOUGHT_START in text:
        said = thought
    judgement = Judgement(parse_verdict_text(said), raw=text)
    if judgement.outcome is Outcome.UNJUDGED:
        return replace(judgement, error="the judge's text holds neither respond nor reject")
    return judgement
