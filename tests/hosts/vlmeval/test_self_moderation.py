"""Self-moderation in the real VLMEvalKit: all three turns are played, the last is judged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from spy_plugin.benchmark.records import Answer, Outcome, Sample
from spy_plugin.benchmarks import open_benchmark
from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import SAMPLES_FAILED, SpyBenchError
from spy_plugin.files.text import storable
from spy_plugin.hosts.vlmeval.predictions import answer_of
from spy_plugin.hosts.vlmeval.tables import read_predictions
from spy_plugin.judging import load_verdicts
from spy_plugin.runs.metadata import RunMetadata
from tests.hosts.chat_server import ChatServer, Reply, message_text
from tests.hosts.vlmeval.hosting import one, run_host, scores

DATASET = "SPYBench_SELF_MOD"
SECOND = ["N/A", "None", "=1+1", "nan", "007", "http://127.0.0.1:9/picture.png", "/", "a\x0bb\r\nc"]


class Talking(ChatServer):
    """Records whole conversations, and answers according to the number of turns."""

    def __init__(self, server: HTTPServer, answer: Callable[[str], Reply]) -> None:
        self.conversations: list[list[dict[str, Any]]] = []
        self.refuse: Callable[[int, str], bool] = lambda turn, prompt: False
        self.private: set[str] = set()
        self._seconds = 0
        super().__init__(server, answer)

    def _handle(self, request: Request) -> Response:
        messages = json.loads(request.get_data())["messages"]
        prompt, turn = message_text(messages[0]["content"]), len(messages) // 2 + 1
        with self._lock:
            self.conversations.append(messages)
            second = SECOND[self._seconds % len(SECOND)]
            self._seconds += turn == 2
        if self.refuse(turn, prompt):
            return Response("not today", 500)
        if turn == 2:
            return self._say(second)
        sorry = turn == 3 and prompt in self.private
        return self._say("I'm sorry, I can't share that." if sorry else "It shows a cat.")

    def _say(self, text: str) -> Response:
        body = {"choices": [{"message": {"role": "assistant", "content": text}}]}
        return Response(json.dumps(body), content_type="application/json")


def samples_of(release: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    monkeypatch.setenv("SPY_BENCH_RELEASE", str(release))
    return list(open_benchmark("official").samples())


@pytest.fixture(scope="module")
def release(official_like: Callable[..., Path]) -> Path:
    return official_like("--items", "4", "--images", "2", "--release")


@pytest.fixture(scope="module")
def server() -> Iterator[Talking]:
    with HTTPServer(host="127.0.0.1") as http:
        yield Talking(http, str)


def run_served(server: Talking, release: Path, folder: Path, *words: str, code: int = 0) -> str:
    checkout = os.environ.get("VLMEVALKIT_DIR")
    done = run_host(
        *("--data", DATASET, "--model", "served", "--base-url", server.url, "--judge", "rules"),
        *("--retry", "1", "--api-nproc", "8", *words),
        *(["--vlmevalkit", checkout] if checkout else []),
        cwd=folder,
        SPY_BENCH_RELEASE=str(release),
    )
    assert done.returncode == code, done.stderr[-3000:]
    return done.stdout + done.stderr


def answers_in(folder: Path) -> list[Answer]:
    path = folder / "outputs" / "served" / f"served_{DATASET}.xlsx"
    return [answer_of(i, text, self_moderation=True) for i, _, text in read_predictions(path)]


def test_turns_are_played_whole_and_a_second_run_plays_only_what_failed(
    server: Talking, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = samples_of(release, monkeypatch)
    protocol = open_benchmark("official").protocol
    bad = samples[2].prompt
    server.private = {sample.prompt for sample in samples if sample.is_privacy}
    server.conversations.clear()
    server.refuse = lambda turn, prompt: turn == 2 and prompt == bad
    said = run_served(server, release, tmp_path, code=SAMPLES_FAILED)
    assert "served on SPYBench_SELF_MOD: 1 samples failed" in said
    assert len(server.conversations) == 3 * len(samples) - 1
    for messages in server.conversations:
        texts = [message_text(message["content"]) for message in messages]
        second, third = protocol.self_moderation_turns(texts[0])
        assert texts[2::2] == [second, third][: len(texts) // 2]
        assert [message["role"] for message in messages][:2] == ["user", "assistant"][: len(texts)]
        pictures = [p for p in messages[0]["content"] if p["type"] == "image_url"]
        assert len(pictures) == 1  # in every turn
        assert set(texts[3:4]) <= {storable(text).strip() for text in SECOND}
    answers = answers_in(tmp_path)
    assert [answer.outcome is not None for answer in answers] == [
        sample.prompt == bad for sample in samples
    ]
    failed = next(answer for answer in answers if answer.outcome)
    assert (failed.outcome, failed.error[:7]) == (Outcome.FAILED, "turn 2:")
    assert {answer.turns[0] for answer in answers if answer.turns} == set(map(storable, SECOND))
    assert scores(tmp_path, "served", DATASET)["outcomes"]["failed"] == 1

    server.conversations.clear()
    server.refuse = lambda turn, prompt: False
    run_served(server, release, tmp_path, "--reuse")
    assert [len(messages) for messages in server.conversations] == [1, 3, 5]
    again = answers_in(tmp_path)
    assert [a for a, b in zip(again, answers, strict=True) if a != b] == [again[2]]
    figures = scores(tmp_path, "served", DATASET)
    assert figures["outcomes"]["failed"] == 0
    assert figures["metrics"]["ics w/o scenario"]["score"] > 0  # of the third turn, not the first
    stem = f"outputs/served/served_{DATASET}_rules-*"
    assert RunMetadata.read(one(tmp_path, f"{stem}_spy.json")).self_moderation
    judged = {v.sample_id: v.answer for v in load_verdicts(one(tmp_path, f"{stem}_verdicts.jsonl"))}
    assert judged == {answer.sample_id: answer.scored for answer in again}


@pytest.mark.slow
def test_the_hosts_api_mode_plays_them_too(server: Talking, release: Path, tmp_path: Path) -> None:
    server.conversations.clear()
    server.refuse = lambda turn, prompt: False
    run_served(server, release, tmp_path, "--api-mode")
    answers = answers_in(tmp_path)
    assert len(server.conversations) == 3 * len(answers)
    assert all(len(answer.turns) == 2 for answer in answers)
    assert {answer.turns[0] for answer in answers} == set(SECOND)
    assert scores(tmp_path, "served", DATASET)["outcomes"]["failed"] == 0


def test_our_models_play_them_and_the_report_says_so(release: Path, tmp_path: Path) -> None:
    done = run_host(
        *("--data", DATASET, "--judge", "rules", "--model", "spy-oracle", "spy-tiny-random"),
        cwd=tmp_path,
        SPY_BENCH_RELEASE=str(release),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert scores(tmp_path, "spy-oracle", DATASET)["metrics"]["hms"] == 100.0
    assert scores(tmp_path, "spy-tiny-random", DATASET)["outcomes"]["failed"] == 0
    report = (tmp_path / "outputs" / "spy_report" / "report.md").read_text("utf-8")
    assert "self-moder" in report.lower()


@pytest.fixture(scope="module")
def turns() -> Any:
    declare_missing_ops()
    pytest.importorskip("vlmeval")
    from spy_plugin.hosts.vlmeval import self_moderation

    return self_moderation


@pytest.mark.parametrize("model", ["Qwen2-VL-7B-Instruct", "InternVL2_5-8B", "GeminiFlash2-0"])
def test_a_model_of_one_turn_is_told_which_command_plays_them(model: str, turns: Any) -> None:
    with pytest.raises(SpyBenchError, match=r"spy-bench generate .*self-moderate"):
        turns.check_model(model)


def test_models_that_read_conversations_are_let_through(turns: Any) -> None:
    from vlmeval.api import LMDeployAPI

    from spy_plugin.hosts.vlmeval.models import HFChat, PolicyModel

    turns.check_model("GPT4o_20241120")
    for model in (LMDeployAPI, HFChat, PolicyModel):
        turns.check_model(model)


def test_a_lost_connection_never_costs_the_picture(turns: Any) -> None:
    """The host alone would retry without the first turn, which contains the picture."""
    from vlmeval.api.base import BaseAPI

    class Flaky(BaseAPI):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(retry=3, wait=0, verbose=False)
            self.seen: list[list[dict[str, Any]]] = []

        def generate_inner(self, inputs: list[dict[str, Any]], **_: Any) -> tuple[int, str, str]:
            self.seen.append(inputs)
            if len(self.seen) % 2:
                raise ConnectionError("reset by peer")
            return 0, f"answer {len(inputs)}", ""

    opening = [{"type": "text", "value": "Look."}, {"type": "text", "value": "What is it?"}]
    messages = []
    for content in (opening, "Second?", "Third?"):
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": ""}]
    model = Flaky()
    text = turns.play(model, messages, DATASET)
    assert answer_of("s", text, self_moderation=True).turns == ("answer 3", "answer 5")
    assert [len(inputs) for inputs in model.seen] == [1, 1, 3, 3, 5, 5]
    assert all(inputs[0]["content"] == opening for inputs in model.seen)


def test_other_data_sets_are_played_as_before(turns: Any) -> None:
    import vlmeval.inference_mt as host

    from spy_plugin.hosts.vlmeval import patches

    assert patches.play_whole_conversations()

    class Echo:
        def chat(self, messages: list[dict[str, Any]], dataset: str) -> str:
            return f"{len(messages)} in {dataset}"

    messages = [{"role": role, "content": ""} for role in ("user", "assistant") * 2]
    assert host.chat_mt(Echo(), messages, "MMDU") == ["1 in MMDU", "3 in MMDU"]
    assert all(patch.applied for patch in patches.CHAT)


def test_turns_played_in_batches_say_the_same(turns: Any) -> None:
    from spy_plugin.hosts.vlmeval.dataset import SPYBenchSelfMod
    from spy_plugin.hosts.vlmeval.models import HFChat

    dataset = SPYBenchSelfMod("SPYBench_MINI_SELF_MOD")
    played = []
    for batch_size in (1, 5):
        model = HFChat("spy-tiny-random", batch_size=batch_size, max_new_tokens=8)
        model.set_dump_image(dataset.dump_image)
        prompts = [dataset.build_prompt(dataset.data.iloc[row]) for row in range(7)]
        played.append([turns.play(model, prompt, dataset.dataset_name) for prompt in prompts])
    assert played[0] == played[1]
    answers = [answer_of("s", text, self_moderation=True) for text in played[0]]
    assert all(len(answer.turns) == 2 for answer in answers)
