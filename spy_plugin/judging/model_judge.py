"""A judge that is a model, the protocol's prompt, and a parser of what the model replies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

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
                yield int(reply.key), self.read(reply)
        except ModelSetupError as error:
            raise JudgeSetupError(str(error)) from None

    def conversation(self, key: str, question: Question) -> Conversation:
        """What the model is asked about a question."""
        prompt = self.protocol.judge_question(
            question.label_words, question.question, question.answer
        )
        return Conversation(key, None, (prompt,), text_required=True)

    def read(self, reply: Reply) -> Judgement:
        """The judgement in a reply of the model."""
        return read_verdict(reply)

    def status(self) -> Mapping[str, int | str]:
        """The model's."""
        return self.model.status()

    def close(self) -> None:
        """Close the model."""
        self.model.close()


def read_verdict(reply: Reply) -> Judgement:
    """The verdict in a model's reply; see `read_reply` and `parse_verdict_text`."""
    # Here, because every host imports this module, and that one imports numpy.
    from spy_plugin.scoring.verdicts import parse_verdict_text

    return read_reply(
        reply, parse_verdict_text, "the judge's text holds neither respond nor reject"
    )


def read_reply(reply: Reply, parse: Callable[[str], Outcome], unclear: str) -> Judgement:
    """The judgement in a model's reply.

    A judge whose question or reply the provider filtered, that declined in the API's own way, or
    whose reply was cut at its limit of tokens, has not judged; a failed request is never a verdict.
    What the judge thought aloud is not read.

    Args:
        parse: Reads the judge's text.
        unclear: What is wrong with a text that `parse` takes for `UNJUDGED`.
    """
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
        outcome = parse(reply.text)
        if outcome is Outcome.UNJUDGED:
            error = unclear
    return Judgement(
        outcome,
        raw=reply.text,
        error=error,
        thoughts=reply.thoughts,
        answered_by=reply.answered_by,
    )
