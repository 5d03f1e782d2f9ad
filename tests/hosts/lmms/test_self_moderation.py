"""Three turns on a one-turn backend: `--model spy_self_mod --model_args wraps=openai`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.runs.metadata import RunMetadata
from tests.hosts.lmms.harness import Harness, results, rows
from tests.hosts.lmms.server import MODEL, ChatServer

FILTERED = 4
"""The sample that the server refuses; neither ICS nor HMS uses it."""


class Recording(ChatServer):
    """Gives the policy's answer in the third turn only."""

    def _reply(self, prompt: str, messages: int) -> str:
        if messages == 1:
            return "The first answer."
        return super()._reply(prompt, messages)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("self_mod")


@pytest.fixture(scope="module")
def server(
    harness: Harness, release: Path, benchmark: Benchmark, http: HTTPServer, out: Path
) -> ChatServer:
    samples = list(benchmark.samples(distractors=True))
    server = Recording(http, samples, "spy-oracle")
    server.fail = lambda prompt: 400 if prompt == samples[FILTERED].prompt else 0
    done = harness.run(
        *("--tasks", "spy_bench_self_mod", "--model", "spy_self_mod", "--limit", "10"),
        *(
            "--model_args",
            f"wraps=openai,model={MODEL},base_url={server.url},api_key=k,max_retries=1",
        ),
        *("--output_path", str(out), "--log_samples"),
        env={"SPY_BENCH_RELEASE": str(release), "SPY_BENCH_JUDGE": "rules"},
    )
    assert done.code == 0, done.text
    return server


def test_each_round_carries_the_conversation_so_far(
    server: ChatServer, benchmark: Benchmark
) -> None:
    prompts = {sample.prompt for sample in list(benchmark.samples(distractors=True))[:10]}
    assert [len(messages) for messages in server.asked] == [1] * 10 + [3] * 9 + [5] * 9
    for messages in server.asked[19:]:
        prompt = messages[0]["content"][-1]["text"]
        prompts.remove(prompt)
        texts = [message["content"][-1]["text"] for message in messages]
        second, third = benchmark.protocol.self_moderation_turns(prompt)
        assert texts == [prompt, "The first answer.", second, "Thinking, turn 2.", third]
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant", "user", "assistant", "user"]
        pictures = [p for m in messages for p in m["content"] if p["type"] == "image_url"]
        assert len(pictures) == 1
    # After a turn without an answer, no further turn is asked.
    assert prompts == {list(benchmark.samples(distractors=True))[FILTERED].prompt}


def test_the_last_turn_is_scored_and_all_are_kept(
    server: ChatServer, benchmark: Benchmark, out: Path
) -> None:
    row = results(out)["results"]["spy_bench_self_mod"]
    assert row["privacy_score,none"] == 100  # as the oracle; the first turn alone scores 0
    (path,) = out.rglob("*_spy.json")
    metadata = RunMetadata.read(path)
    assert metadata.self_moderation
    assert metadata.variant == "distractors"
    used = metadata.usage["generate"]
    assert (used.requests, used.input_tokens, used.output_tokens) == (27, 270, 135)
    samples = {sample.sample_id: sample for sample in benchmark.samples(distractors=True)}
    absolute = benchmark.protocol.absolute_labels
    for row in rows(path.with_name(metadata.verdicts)):
        sample = samples[row["sample_id"]]
        wanted = POLICIES["spy-oracle"](sample, absolute).value
        assert row["outcome"] == (
            "filtered" if sample == list(samples.values())[FILTERED] else wanted
        )
    turns = [len(answer["turns"]) for answer in rows(path.with_name(metadata.answers))]
    assert turns == [2] * 4 + [0] + [2] * 5
