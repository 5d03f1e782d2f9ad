"""A judge that is a model, the protocol's prompt, and a parser of what the model replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from spy_plugin.benchmark.protocol import Protocol
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError
from spy_plugin.judging.base import Judge, Judgement, Question, fingerprint
from spy_plugin.models.base import LENGTH, REFUSAL, Conversation, Model, ModelSetupError, Reply


class ModelJudge(Judge):
    """Ask a model about each question, in a conversation without a picture.

    Args:
        model: Closed with the judge.
        protocol: Gives the judge prompt.
    """

    def __init__(self, model: Model, protocol: Protocol) -> None:
        self.model, self.protocol = model, protocol
        self.name, self.server = model.name, model.server
        self.fingerprint = self.fingerprint_at(model.server)

    def fingerprint_at(self, server: str) -> str:
        """See `Judge`."""
        about = self.model.identity | ({"server": server} if server else {})
        return fingerprint(self.name, self.protocol, json.dumps(about, sort_keys=True, default=str))

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Judgement]]:
        """Yield the judgements as the model replies.

        Raises:
            JudgeSetupError: the model cannot be asked. What was yielded before stands.
        """
        conversations = (
            self.conversation(str(index), question) for index, question in enumerate(questions)
        )
        self.model.worked_before = self.worked_before
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

    def status(self) -> Mapping[str, int]:
        """The model's."""
        return self.model.status()

    def close(self) -> None:
        """Close the model."""
        self.model.close()


def read_verdict(reply: Reply) -> Judgement:
    """The judgement in a model's reply; see `parse_verdict_text`.

    A judge whose question or reply the provider filtered, that declined in the API's own way, or
    whose reply was cut at its limit of tokens, has not judged; a failed request is never a verdict.
    What the judge thought aloud is not read.
    """
    # Here, because every host imports this module, and that one imports numpy.
    from spy_plugin.scoring.verdicts import parse_verdict_text

    outcome, error = Outcome.UNJUDGED, ""
    if reply.outcome is not None:
        outcome, error = Outcome.FAILED, reply.error
        if reply.outcome is Outcome.FILTERED:
            outcome = Outcome.UNJUDGED
    elif reply.finish_reason == REFUSAL:
        error = "the judge declined to judge"
    elif reply.finish_reason == LENGTH:
        error = "the judge's reply was cut at its limit of new tokens"
    else:
        outcome = parse_verdict_text(reply.text)
        if outcome is Outcome.UNJUDGED:
            error = "the judge's text holds neither respond nor reject"
    return Judgement(
        outcome,
        raw=reply.text,
        error=error,
        thoughts=reply.thoughts,
        answered_by=reply.answered_by,
    )
