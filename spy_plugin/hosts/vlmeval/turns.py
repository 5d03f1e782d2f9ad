"""The three turns of self-moderation in VLMEvalKit: a conversation is played whole, or has failed.

The host's own way of playing turns goes on without the first ones when a request fails, and with
them it forgets the picture. For our data sets, and for no other, its `chat_mt` is replaced.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import re
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from spy_plugin.benchmark.records import Answer, Outcome
from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.vlmeval.predictions import FAILED, prediction_of, replace_once, turns_text
from spy_plugin.hosts.vlmeval.variants import VARIANTS
from spy_plugin.registry.catalog import resolve_model

Message = dict[str, Any]

# How the host's API classes tell a conversation from a single message.
_TAKES_CONVERSATIONS = re.compile(r"""['"]role['"] in inputs\[0\]""")


def keep_turns_whole() -> None:
    """Replace what plays turns in the host, in its local and in its API pipeline."""
    for name in ("vlmeval.inference_mt", "vlmeval.inference_api"):
        module = importlib.import_module(name)
        replace_once(module, "chat_mt", _playing_ours)
    replace_once(importlib.import_module("vlmeval.inference_mt"), "infer_data_job_mt", _checking)


def is_self_moderated(dataset: str | None) -> bool:
    """Whether a data set is one of ours that takes three turns."""
    return dataset in VARIANTS and VARIANTS[dataset].self_moderation


def _playing_ours(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def chat_mt(model: Any, messages: list[Message], dataset_name: str) -> Any:
        if not is_self_moderated(dataset_name):
            return original(model, messages, dataset_name)
        return play(model, messages, dataset_name)

    return chat_mt


def play(model: Any, messages: list[Message], dataset: str) -> str:
    """Play a conversation.

    Args:
        messages: The user's and, in between and last, gaps for the model's answers.

    Returns:
        All answers as they stand in the prediction file (see `predictions`), or why there are none.
    """
    try:
        if hasattr(model, "converse"):
            return turns_text(tuple(model.converse(messages, dataset)))
        return _play_with_api(model, messages, dataset)
    except Exception as error:  # noqa: BLE001 - as in the host, a sample's failure is not the run's
        reason = f"{type(error).__name__}: {error}"
        return prediction_of(Answer("", "", Outcome.FAILED, reason))


def _play_with_api(model: Any, messages: list[Message], dataset: str) -> str:
    whole = copy.copy(model)  # of this conversation only: other data sets may play as the host does
    whole.chat_inner = partial(_ask, model)
    questions = [message["content"] for message in messages[::2]]
    answers: list[str] = []
    for number in range(len(questions)):
        # New ones for each turn, answers as plain text: the host takes a path or a URL in a message
        # that has been through its hands for a picture.
        asked = [{"role": "user", "content": copy.deepcopy(content)} for content in questions]
        said = [{"role": "assistant", "content": answer} for answer in answers]
        turns = [turn for pair in zip(asked, said, strict=False) for turn in pair]
        text = str(whole.chat([*turns, asked[number]], dataset=dataset))
        mark = str(getattr(model, "fail_msg", FAILED)).strip()
        if mark in text:
            reason = text.replace(mark, "").strip(" :") or "the host's log says why"
            failure = Answer("", "", Outcome.FAILED, f"turn {number + 1}: {reason}")
            return prediction_of(failure)
        answers.append(text)
    return turns_text(tuple(answers))


def _ask(model: Any, messages: list[Message], **options: Any) -> Any:
    """In place of the host's `chat_inner`, which tries again with fewer turns."""
    options.pop("dataset", None)
    return model.generate_inner(messages, **options)


def _checking(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def infer_data_job_mt(model: Any, *args: Any, **kwargs: Any) -> Any:
        dataset = kwargs.get("dataset")
        if is_self_moderated(getattr(dataset, "dataset_name", None)):
            check_plays_turns(model if isinstance(model, str) else type(model))
        return original(model, *args, **kwargs)

    return infer_data_job_mt


def check_plays_turns(model: str | type) -> None:
    """Refuse a model that answers one turn only.

    Args:
        model: A name that the host knows, or a class.

    Raises:
        SpyBenchError: with the commands that play the turns with such a model.
    """
    from vlmeval.config import supported_VLM

    builder = supported_VLM[model] if isinstance(model, str) else model
    made = builder.func if isinstance(builder, partial) else builder
    if not isinstance(made, type) or _plays_turns(made):
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


def _plays_turns(model: type) -> bool:
    """Whether a class is one of ours, or one of the host's API classes that read conversations.

    Those of its local classes that know turns make their own prompts, or none of our three.
    """
    from vlmeval.api.base import BaseAPI

    if hasattr(model, "converse"):
        return True
    classes = model.__mro__[: model.__mro__.index(BaseAPI)] if issubclass(model, BaseAPI) else ()
    return any(_TAKES_CONVERSATIONS.search(inspect.getsource(part)) for part in classes)
