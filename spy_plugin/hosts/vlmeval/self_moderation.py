"""The three turns of self-moderation in VLMEvalKit: a conversation is played whole, or has failed.

When a request fails, the host's own way of playing turns continues without the first ones, and
loses the picture with them. `patches` puts `play` in its place, for our data sets only.
"""

from __future__ import annotations

import copy
from functools import cache, partial
from typing import Any

from spy_plugin.benchmark.records import Answer, Outcome
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.text import storable
from spy_plugin.hosts.versions import host_version
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.hosts.vlmeval.predictions import FAILED, prediction_of, turns_text
from spy_plugin.models.thoughts import split_thoughts
from spy_plugin.registry.catalog import hosts, resolve_model

Message = dict[str, Any]


def is_self_moderated(dataset: str | None) -> bool:
    """Return whether a data set is one of ours with three turns."""
    return dataset in VARIANTS and VARIANTS[dataset].self_moderation


def play(model: Any, messages: list[Message], dataset: str) -> str:
    """Play a conversation.

    Args:
        model: One of the host's models, or one of ours with a method `converse`.
        messages: The user's messages, each followed by an empty one for the model's answer.

    Returns:
        All answers in the form of the prediction file (see `predictions`), or the reason why there
        are none.
    """
    try:
        if hasattr(model, "converse"):
            return turns_text(tuple(model.converse(messages, dataset)))
        return _play_with_api(model, messages, dataset)
    except Exception as error:  # noqa: BLE001 - as in the host, a failed sample does not end the run
        reason = f"{type(error).__name__}: {error}"
        return prediction_of(Answer("", "", Outcome.FAILED, reason))


def _play_with_api(model: Any, messages: list[Message], dataset: str) -> str:
    whole = copy.copy(model)  # for this conversation only: other data sets use the host's own way
    whole.chat_inner = partial(_ask, model)
    questions = [message["content"] for message in messages[::2]]
    answers: list[str] = []
    for number in range(len(questions)):
        # New objects for each turn, with answers as plain text: the host takes a path or a URL in a
        # message that it has processed before for a picture.
        asked = [{"role": "user", "content": copy.deepcopy(content)} for content in questions]
        said = [{"role": "assistant", "content": split_thoughts(answer)[0]} for answer in answers]
        turns = [turn for pair in zip(asked, said, strict=False) for turn in pair]
        text = str(whole.chat([*turns, asked[number]], dataset=dataset))
        mark = str(getattr(model, "fail_msg", FAILED)).strip()
        if mark in text:
            reason = text.replace(mark, "").strip(" :") or "the host's log says why"
            failure = Answer("", "", Outcome.FAILED, f"turn {number + 1}: {reason}")
            return prediction_of(failure)
        answers.append(storable(text))
    return turns_text(tuple(answers))


def _ask(model: Any, messages: list[Message], **options: Any) -> Any:
    """Take the place of the host's `chat_inner`, which retries with fewer turns."""
    options.pop("dataset", None)
    return model.generate_inner(messages, **options)


def check_model(model: str | type) -> None:
    """Refuse a model that answers one turn only.

    Args:
        model: A name that the host knows, or a class.

    Raises:
        SpyBenchError: with the commands that play the turns with such a model.
    """
    from vlmeval.config import supported_VLM

    builder = supported_VLM[model] if isinstance(model, str) else model
    made = builder.func if isinstance(builder, partial) else builder
    if not isinstance(made, type) or plays_turns(made):
        return
    name = model if isinstance(model, str) else made.__name__
    known = resolve_model(name)
    hub_id = known.hub_id if known and known.hub_id else "MODEL"
    raise SpyBenchError(
        f"VLMEvalKit's class for {name} ({made.__name__}) answers one turn only. Play the three "
        f"turns with: spy-bench generate --backend vllm --model {hub_id}, then spy-bench "
        "self-moderate ANSWERS; or run it here from a server (--base-url URL), or as "
        "--model hf:CHECKPOINT."
    )


def plays_turns(model: type) -> bool:
    """Return whether a class plays our three turns: one of ours, or one that the registry lists.

    Those of the host's local classes that know turns build their own prompts, or none of our three.
    """
    names = {f"{part.__module__}.{part.__qualname__}" for part in model.__mro__}
    return hasattr(model, "converse") or not names.isdisjoint(_listed_classes())


@cache
def _listed_classes() -> frozenset[str]:
    """Return the list for the version that runs; for an untested one, that of the newest tested."""
    host = hosts()["vlmeval"]
    version = host_version("vlmeval")
    return frozenset(
        host.multi_turn_classes[version if version in host.tested else host.tested[-1]]
    )
