"""Self-moderation on any chat backend: `--model spy_self_mod --model_args wraps=vllm,model=...`.

Most of lmms-eval's backends answer one turn only, and the one that supports several plays one
conversation after another. This model wraps a chat backend and plays round after round: each of the
three rounds is one batch of single requests that carry the conversation so far.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lmms_eval.api.instance import Instance, unwrap_generation_output
from lmms_eval.api.model import lmms

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.judging import is_failure


class SelfModeration(lmms):  # type: ignore[misc]
    """A chat backend that also answers in several turns.

    Args:
        wraps: Name of one of the host's chat backends.
        options: Arguments of that backend.
    """

    is_simple = False

    def __init__(self, wraps: str = "", **options: Any) -> None:
        self.inner = _backend(wraps)(**options)
        super().__init__()
        # One dictionary, which the host fills: both look up documents in it.
        self.task_dict = self.inner.task_dict

    # All other attributes that the host sets on this model must reach the backend.
    _OWN = frozenset({"inner", "task_dict", "cache_hook"})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.inner, name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not set yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def rank(self) -> int:
        """See the backend."""
        return int(self.inner.rank)

    @property
    def world_size(self) -> int:
        """See the backend."""
        return int(self.inner.world_size)

    def clean(self) -> None:
        """Free the backend's memory."""
        self.inner.clean()

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """See the backend."""
        found: list[tuple[float, bool]] = self.inner.loglikelihood(requests)
        return found

    def generate_until(self, requests: list[Any]) -> list[Any]:
        """Answer one turn: see the backend."""
        answers: list[Any] = self.inner.generate_until(requests)
        return answers

    def generate_until_multi_round(self, requests: list[Any]) -> list[list[str]]:
        """Play the rounds of all requests; each round is one batch."""
        return play_rounds(requests, self.task_dict, self.inner.generate_until)


def play_rounds(
    requests: Sequence[Any],
    task_dict: Mapping[str, Any],
    generate_until: Callable[[list[Any]], list[Any]],
) -> list[list[str]]:
    """Play the rounds of all requests; each round is one batch of single requests.

    Args:
        task_dict: Task -> split -> documents.
        generate_until: The backend's method for one turn.

    Returns:
        The answers of each request, one per round; fewer after a failure, with the host's mark of
        a failure as the last.
    """
    answers: list[list[str]] = [[] for _ in requests]
    infos: list[Any] = [None] * len(requests)
    active = list(range(len(requests)))
    for number in range(_MOST_ROUNDS):
        turns: list[tuple[int, Any]] = []
        for index in active:
            _, _, _, _, task, split = requests[index].args
            messages, infos[index] = _messages(
                requests[index], task_dict[task][split], number, answers[index], infos[index]
            )
            if messages is not None:
                turns.append((index, _request(requests[index], messages)))
        if not turns:
            break
        texts = generate_until([turn for _, turn in turns])
        for (index, _), output in zip(turns, texts, strict=True):
            answers[index].append(str(unwrap_generation_output(output)[0]))
        active = [index for index, _ in turns if not is_failure(answers[index][-1])]
    return answers


def _messages(
    request: Any, documents: Any, number: int, answers: list[str], info: Any
) -> tuple[Any | None, Any]:
    """Return the conversation of a round as a function of the document, or None after the last.

    Its pictures are opened when the backend asks for them, not for all requests at once.
    """
    _, doc_to_messages, _, doc_id, _, _ = request.args
    if number == 0:
        return doc_to_messages, None
    ask = partial(
        doc_to_messages,
        round_idx=number,
        previous_output=list(answers),
        previous_round_info=info,
    )
    payload = ask(documents[doc_id])
    if not isinstance(payload, tuple) or len(payload) != 4 or payload[1]:
        return None, info
    return lambda doc: ask(doc)[0], payload[3]


_MOST_ROUNDS = 16


def _request(request: Any, messages: Any) -> Instance:
    context, _, options, doc_id, task, split = request.args
    # Some backends remove entries from the options.
    arguments = (context, messages, copy.deepcopy(options), doc_id, task, split)
    return Instance(
        request_type="generate_until",
        arguments=arguments,
        idx=request.idx,
        metadata=dict(request.metadata),
    )


def _backend(name: str) -> Any:
    """Return the class of a chat backend.

    Raises:
        SpyBenchError: no backend is named, or it is not a chat backend.
    """
    from lmms_eval import models

    chat = ", ".join(sorted(models.AVAILABLE_CHAT_TEMPLATE_MODELS))
    if not name:
        raise SpyBenchError(
            "spy_self_mod needs a backend, as in --model_args wraps=vllm,model=NAME. "
            f"Use one of {chat}."
        )
    path = models.get_model_manifest(name).chat_class_path or ""
    # The arguments of the registry's names are only added by the host's own way of building models.
    if path.startswith("spy_plugin."):
        raise SpyBenchError(f"{name} is a model, not a backend. Use one of {chat}.")
    backend = models.get_model(name)
    if backend.is_simple:
        raise SpyBenchError(f"{name} is not a chat backend. Use one of {chat}.")
    return backend
