"""What a model said through a host, as an answer: the same for every host and for `generate`."""

from __future__ import annotations

from collections.abc import Sequence

from spy_plugin.benchmark.records import Answer, Outcome
from spy_plugin.files.text import storable
from spy_plugin.models.thoughts import split_thoughts

_ONLY_THOUGHTS = (
    "the model thought aloud and said nothing after it. Let the host generate more tokens."
)


def spoken_answer(sample_id: str, texts: Sequence[str]) -> Answer:
    """Return the answer in a model's texts, one per turn.

    Texts are made storable. Thoughts are left out; a text that holds nothing else has failed, since
    a host does not tell whether its limit of tokens cut it.
    """
    spoken = []
    for text in texts:
        said, thoughts = split_thoughts(storable(text))
        if thoughts and not said:
            return Answer(sample_id, "", Outcome.FAILED, _ONLY_THOUGHTS)
        spoken.append(said)
    return Answer(sample_id, spoken[0], turns=tuple(spoken[1:]))
