"""The reference policies, asked like any other model."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.benchmark.policies import POLICIES, REFUSAL
from spy_plugin.benchmark.records import Outcome, Sample
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.errors import SpyBenchError
from spy_plugin.models.base import Conversation, ModelSetupError
from spy_plugin.models.build import build_model
from spy_plugin.models.policy_model import PolicyModel


@pytest.mark.parametrize("distractors", [True, False])
def test_the_oracle_answers_every_sample_as_expected(distractors: bool) -> None:
    mini = open_benchmark("mini")
    samples = {s.sample_id: s for s in mini.samples(distractors=distractors)}
    talks = [Conversation(key, mini.image_file(s), (s.prompt,)) for key, s in samples.items()]
    with build_model("policy", "spy-oracle", benchmark=mini) as model:
        found = {reply.key: reply.text for reply in model.ask(talks)}
    assert set(found) == set(samples)
    for key, sample in samples.items():
        refuses = POLICIES["spy-oracle"](sample, mini.protocol.absolute_labels) is Outcome.REJECT
        assert (found[key] == REFUSAL) == refuses


def test_a_later_turn_and_another_path_to_the_picture_change_nothing(tmp_path: Path) -> None:
    mini = open_benchmark("mini")
    sample = next(mini.samples())
    link = tmp_path / "link.png"
    link.symlink_to(mini.image_file(sample))
    model = PolicyModel("spy-always-answer", mini)
    first = model.answer(Conversation("s", mini.image_file(sample), (sample.prompt,)))
    assert sample.gt in first
    assert model.answer(Conversation("s", link, (sample.prompt, first, "Sure?"))) == first


def test_what_is_not_a_sample_or_a_policy_is_refused(samples: list[Sample]) -> None:
    mini = open_benchmark("mini")
    sample = next(mini.samples())
    model = PolicyModel("spy-literal", mini)
    for image, prompt in ((mini.image_file(sample), "What else?"), (None, sample.prompt)):
        with pytest.raises(SpyBenchError, match="no sample asks this"):
            model.answer(Conversation("s", image, (prompt,)))
    with pytest.raises(ModelSetupError, match=f"Use one of {', '.join(POLICIES)}"):
        PolicyModel("spy-perfect", mini)
    with pytest.raises(ModelSetupError, match="needs the benchmark"):
        build_model("policy", "spy-oracle")
