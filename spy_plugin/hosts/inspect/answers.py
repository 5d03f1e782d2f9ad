"""What inspect's model gave, as an answer with an outcome."""

from __future__ import annotations

from inspect_ai.model import ModelOutput

from spy_plugin.benchmark.records import Answer, Outcome
from spy_plugin.files.text import storable
from spy_plugin.hosts.answers import spoken_answer
from spy_plugin.hosts.inspect.samples import NO_ANSWER

_FINISHED = ("stop", "max_tokens")


def read_answer(sample_id: str, output: ModelOutput) -> Answer:
    """Return an answer; only one that ended by itself or at the limit of tokens is one.

    inspect gives one stop reason to a filtered question and a filtered answer. A model that
    declined in the API's own way has answered with its words.
    """
    if not output.choices:
        error = storable(output.error or NO_ANSWER)
        return Answer(sample_id, "", outcome=Outcome.FAILED, error=error)
    reason, text = output.stop_reason, output.completion
    if reason == "content_filter":
        error = storable(f"the provider filtered the question or the answer: {text}")
        return Answer(sample_id, "", outcome=Outcome.FILTERED, error=error)
    if reason not in _FINISHED:
        error = f"the answer is not finished (stop reason {reason})"
        return Answer(sample_id, "", outcome=Outcome.FAILED, error=error)
    if reason == "max_tokens" and not text.strip():
        error = "the limit of new tokens was reached before any answer. Raise --max-tokens."
        return Answer(sample_id, "", outcome=Outcome.FAILED, error=error)
    return spoken_answer(sample_id, [text])
