"""The tiny models of the package as lmms-eval models: `--model spy-tiny-ncap`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages

from spy_plugin.hosts.lmms.named_models import refuse_arguments, with_defaults
from spy_plugin.hosts.lmms.self_moderation import play_rounds
from spy_plugin.models.checkpoint import MAX_NEW_TOKENS, Checkpoint
from spy_plugin.models.packaged import PACKAGED


class CheckpointModel(lmms):  # type: ignore[misc]
    """A checkpoint with its own chat template, asked in batches; decoding is always greedy.

    Args:
        pretrained: A name of `PACKAGED`, or any checkpoint that `Checkpoint` takes.
        batch_size: Conversations per batch. The host's default, the number 1, and its `auto` leave
            the choice to the checkpoint; a 1 from the user is a string.
        device: `cuda`, `mps` or `cpu`; by default the first of them that is available.
        max_new_tokens: Limit of new tokens per answer; a lower one of the task takes precedence.
        max_batch_size: The host's, which has no use here.

    Raises:
        SpyBenchError: an argument is none of these.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        max_batch_size: object = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        refuse_arguments(unknown, "pretrained", "batch_size", "device", "max_new_tokens")
        given = str(batch_size)
        self.checkpoint = Checkpoint(
            pretrained,
            batch_size=int(given) if given.isdigit() and batch_size != 1 else None,
            max_new_tokens=max_new_tokens,
            device=device,
        )
        self.device = self.checkpoint.device

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Return one answer per request."""
        from tqdm import tqdm

        answers: list[str] = []
        with tqdm(total=len(requests), desc="answers", disable=self.rank != 0) as bar:
            for limit, same in groupby(requests, key=_limit):
                for batch in self._batches(list(same)):
                    conversations = [self._conversation(request) for request in batch]
                    answers += self.checkpoint.generate(conversations, limit)
                    bar.update(len(batch))
        return answers

    def generate_until_multi_round(self, requests: list[Any]) -> list[list[str]]:
        """Play the rounds of all requests; each round is asked in batches."""
        return play_rounds(requests, self.task_dict, self.generate_until)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Not supported."""
        raise NotImplementedError("this model only generates")

    def _batches(self, requests: Sequence[Any]) -> Iterator[Sequence[Any]]:
        start = 0
        while start < len(requests):
            size = self.checkpoint.batch_size  # smaller after memory ran out
            yield requests[start : start + size]
            start += size

    def _conversation(self, request: Any) -> list[dict[str, Any]]:
        _, doc_to_messages, _, doc_id, task, split = request.args
        messages = doc_to_messages(self.task_dict[task][split][doc_id])
        turns: list[dict[str, Any]] = ChatMessages(messages=messages).to_hf_messages()
        return turns


def _limit(request: Any) -> int | None:
    """Return the task's limit of new tokens."""
    found = request.args[2].get("max_new_tokens")
    return int(found) if found else None


def __getattr__(name: str) -> type:
    """Return the class that the manifest of a model of ours names: the model's name."""
    if name not in PACKAGED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return with_defaults(CheckpointModel, {"pretrained": name})
