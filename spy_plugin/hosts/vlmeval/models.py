"""The models that we add to VLMEvalKit: reference policies, and any Hugging Face checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image
from vlmeval.smp import get_rank_and_world_size
from vlmeval.vlm.base import BaseModel

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.data.pictures import open_rgb
from spy_plugin.files.text import storable
from spy_plugin.hosts.vlmeval.names import VARIANTS
from spy_plugin.models.base import Conversation
from spy_plugin.models.checkpoint import Checkpoint
from spy_plugin.models.policy_model import PolicyModel as ReferencePolicy
from spy_plugin.models.thoughts import split_thoughts

logger = logging.getLogger(__name__)

Message = list[dict[str, Any]]
"""The user's part of one turn: pictures and text in the host's format."""

Key = tuple[tuple[str, str], ...]


class PolicyModel(BaseModel):  # type: ignore[misc]
    """A reference policy: looks up the sample that is asked and answers by a rule.

    On any other benchmark it always gives the same text, ``No answer.``

    Args:
        policy: A name of `spy_plugin.benchmark.policies.POLICIES`.
    """

    INTERLEAVE = True

    def __init__(self, policy: str, **_: Any) -> None:
        super().__init__()
        self.policy = policy
        self._models: dict[str, ReferencePolicy] = {}

    def generate_inner(self, message: Message, dataset: str | None = None) -> str:
        """Answer one prompt of the data set called `dataset`."""
        if dataset not in VARIANTS:
            return "No answer."
        name = VARIANTS[dataset].benchmark
        if name not in self._models:
            self._models[name] = ReferencePolicy(self.policy, open_benchmark(name))
        image = next(part["value"] for part in message if part["type"] == "image")
        prompt = next(part["value"] for part in message if part["type"] == "text")
        return self._models[name].answer(Conversation("", Path(image), (prompt,)))

    def chat_inner(self, messages: list[dict[str, Any]], dataset: str | None = None) -> str:
        """Answer the last turn like the first."""
        return self.generate_inner(messages[0]["content"], dataset)

    def converse(self, messages: list[dict[str, Any]], dataset: str) -> list[str]:
        """Return the same answer for every turn of a conversation."""
        return [self.chat_inner(messages, dataset)] * len(messages[::2])


class HFChat(BaseModel):  # type: ignore[misc]
    """Any `AutoModelForImageTextToText` checkpoint, through its own chat template, in batches.

    The host asks one prompt at a time, in the order of the data set. So the next prompts are known:
    they are answered in the same batch, and their answers kept until the host asks.

    Args:
        model_path: A hub id, a folder, or the name of a model of ours.
        use_vllm: The host's `--use-vllm`, which it passes to models whose names hold ``Qwen2-VL``
            and the like, whatever their class. It has no effect here, and a warning says so.
        options: Passed to `spy_plugin.models.checkpoint.Checkpoint`.
    """

    INTERLEAVE = True
    do_sample = False
    """For the record of a run: a `Checkpoint` decodes greedily."""

    def __init__(self, model_path: str, *, use_vllm: bool = False, **options: Any) -> None:
        super().__init__()
        if use_vllm:
            logger.warning("--use-vllm has no effect on %s, which runs in transformers", model_path)
        self.checkpoint = Checkpoint(model_path, **options)
        self._ahead: dict[Key, list[str]] = {}
        self._upcoming: dict[str, _Upcoming] = {}

    def generate_inner(self, message: Message, dataset: str | None = None) -> str:
        """Answer one prompt, and in the same batch the next ones of the data set."""
        return self._answers([message], dataset)[0]

    def converse(self, messages: list[dict[str, Any]], dataset: str) -> list[str]:
        """Answer all turns of a conversation, and in the same batches those of the next ones.

        Args:
            messages: The user's messages, each followed by an empty one for the answer.
        """
        return self._answers(_user_turns(self, messages), dataset)

    def chat_inner(self, messages: list[dict[str, Any]], dataset: str | None = None) -> str:
        """Answer the last turn of a conversation, for the host's own data sets of several turns."""
        turns = [{"role": m["role"], "content": _content(m["content"])} for m in messages]
        return self._generate([turns])[0]

    def _answers(self, questions: list[Message], dataset: str | None) -> list[str]:
        key = _key(questions)
        if key not in self._ahead:
            batch = [questions, *self._next_questions(key, dataset)]
            self._ahead = dict(zip(map(_key, batch), self._play(batch), strict=True))
        return self._ahead[key]

    def _next_questions(self, key: Key, dataset: str | None) -> list[list[Message]]:
        host_dataset = getattr(self.dump_image_func, "__self__", None)
        if self.checkpoint.batch_size < 2 or host_dataset is None or dataset is None:
            return []
        if dataset not in self._upcoming:
            self._upcoming[dataset] = _Upcoming(self, host_dataset)
        return self._upcoming[dataset].after(key, self.checkpoint.batch_size - 1)

    def _play(self, batch: list[list[Message]]) -> list[list[str]]:
        """Ask all conversations their questions, turn by turn; each turn is one batch."""
        conversations: list[list[dict[str, Any]]] = [[] for _ in batch]
        answers: list[list[str]] = [[] for _ in batch]
        for questions in zip(*batch, strict=True):
            for turns, question in zip(conversations, questions, strict=True):
                turns.append({"role": "user", "content": _content(question)})
            for number, text in enumerate(self._generate(conversations)):
                answers[number].append(text)
                said = [{"type": "text", "text": split_thoughts(text)[0]}]
                conversations[number].append({"role": "assistant", "content": said})
        return answers

    def _generate(self, batch: list[list[dict[str, Any]]]) -> list[str]:
        return [storable(text) for text in self.checkpoint.generate(batch)]


class _Upcoming:
    """The questions of a data set, in the order in which the host asks them in this process."""

    def __init__(self, model: BaseModel, dataset: Any) -> None:
        rank, world_size = get_rank_and_world_size()
        rows = range(rank, len(dataset), world_size)
        self._questions: Iterator[list[Message]] = (
            _user_turns(model, dataset.build_prompt(dataset.data.iloc[row])) for row in rows
        )

    def after(self, key: Key, count: int) -> list[list[Message]]:
        """Return the next `count` after the one with this key; none if it does not follow."""
        if any(_key(questions) == key for questions in self._questions):
            return list(islice(self._questions, count))
        return []


def _user_turns(model: BaseModel, prompt: list[dict[str, Any]]) -> list[Message]:
    """Return the user's part of each turn of a prompt, which may be a single message."""
    if "role" not in prompt[0]:
        return [model.preproc_content(prompt)]
    return [model.preproc_content(message["content"]) for message in prompt[::2]]


def _key(questions: list[Message]) -> Key:
    """Return what identifies a sample within its data set: its first message."""
    return tuple((part["type"], part["value"]) for part in questions[0])


def _content(message: Message) -> list[dict[str, Any]]:
    return [
        {"type": "image", "image": _picture(part["value"])}
        if part["type"] == "image"
        else {"type": "text", "text": part["value"]}
        for part in message
    ]


@lru_cache(maxsize=16)  # the samples of one picture follow each other
def _picture(path: str) -> Image.Image:
    return open_rgb(Path(path))
