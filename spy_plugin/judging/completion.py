"""Reading a judge's chat completion, as a server or a batch's result file gives it."""

from __future__ import annotations

from spy_plugin.benchmark.records import Outcome
from spy_plugin.judging.base import Judgement, read_reply
from spy_plugin.models.openai_client import NoCompletionError, parse_completion


def read_completion(body: object) -> Judgement:
    """The judgement in a chat completion.

    Args:
        body: The completion as plain JSON.

    Returns:
        `UNJUDGED` if the provider filtered it, or the judge declined; else what its text says.

    Raises:
        NoCompletionError: there is no choice in it, or no text.
    """
    completion = parse_completion(body)
    if completion.filtered:
        return Judgement(Outcome.UNJUDGED, error="the provider filtered the judge's answer")
    if completion.refusal:
        return Judgement(
            Outcome.UNJUDGED, raw=completion.refusal, error="the judge declined to judge"
        )
    if not completion.text.strip():
        raise NoCompletionError(
            f"the judge's answer is empty (finish_reason {completion.finish_reason})"
        )
    return read_reply(completion.text)
