"""The reference policies as a model: they look the asked sample up and answer by their rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from os.path import realpath

from spy_plugin.benchmark.policies import POLICIES, reply
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import SpyBenchError
from spy_plugin.models.base import Conversation, Decoding, Model, ModelSetupError, Reply


class PolicyModel(Model):
    """A reference policy; asked again in a later turn, it gives its first answer again.

    Args:
        policy: A name of `POLICIES`.
        benchmark: Whose samples it knows, with distractors and without.

    Raises:
        ModelSetupError: no policy has this name.
    """

    backend = "policy"

    def __init__(self, policy: str, benchmark: Benchmark, decoding: Decoding | None = None) -> None:
        if policy not in POLICIES:
            raise ModelSetupError(f"unknown policy {policy!r}. Use one of {', '.join(POLICIES)}.")
        self.model, self.settings = policy, {}
        self.decoding = decoding or Decoding()
        self._absolute_labels = benchmark.protocol.absolute_labels
        place = cache(realpath)
        self._samples = {
            (place(benchmark.image_file(sample)), sample.prompt): sample
            for distractors in benchmark.variants
            for sample in benchmark.samples(distractors=distractors)
        }

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            yield Reply(conversation.key, self.answer(conversation))

    def answer(self, conversation: Conversation) -> str:
        """The policy's answer to one conversation.

        Raises:
            SpyBenchError: it does not begin with a sample of the benchmark.
        """
        image, prompt = conversation.image, conversation.turns[0]
        sample = self._samples.get((realpath(str(image)), prompt)) if image else None
        if sample is None:
            raise SpyBenchError(
                f"no sample asks this about {image}. Reference policies answer only the SPY-Bench "
                "data set that they were given."
            )
        return reply(self.model, sample, self._absolute_labels)
