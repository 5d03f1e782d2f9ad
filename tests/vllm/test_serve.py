"""A real `vllm serve`, used by the OpenAI backend and by a judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.judging import Question, build_judge
from spy_plugin.models.base import Conversation, Decoding
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.servers import NO_KEY, Server

from .conftest import TOKENS

if TYPE_CHECKING:
    from spy_plugin.models.vllm_model import VLLMModel

pytestmark = pytest.mark.vllm


def test_the_server_answers_as_the_engine_in_this_process(
    server: str, model: Path, backend: VLLMModel, conversations: list[Conversation]
) -> None:
    decoding = Decoding(max_tokens=TOKENS)
    served = OpenAIModel(str(model), decoding, Server(server, NO_KEY), ModelOptions(concurrency=4))
    found = {reply.key: reply for reply in served.ask(conversations)}
    own = {reply.key: reply for reply in backend.ask(conversations)}
    assert {key: reply.text for key, reply in found.items()} == {
        key: reply.text for key, reply in own.items()
    }
    assert all(found[key].input_tokens == own[key].input_tokens for key in own)


def test_a_broken_picture_fails_alone_at_the_server(
    server: str, model: Path, conversations: list[Conversation], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    whole = conversations[0].image
    assert whole is not None
    cut.write_bytes(whole.read_bytes()[:3000])
    decoding = Decoding(max_tokens=TOKENS)
    served = OpenAIModel(str(model), decoding, Server(server, NO_KEY), ModelOptions(retries=0))
    talks = [*conversations[:2], Conversation("cut", cut, ("Which?",))]
    found = {reply.key: reply.outcome for reply in served.ask(talks)}
    assert found == {"0/0": None, "0/1": None, "cut": Outcome.FAILED}


@pytest.mark.parametrize("structured", [None, "choice", "json"])
def test_a_structured_judge_says_one_of_the_two_words(
    server: str, model: Path, structured: str | None
) -> None:
    questions = [
        Question("a31_passport", "passport", "Which number?", f"It is {number}.")
        for number in range(6)
    ]
    # An untrained model fills JSON with blanks: it gives the words, but exceeds the limit.
    options = ModelOptions(
        base_url=server, structured=structured, retries=0, request_args={"max_tokens": 64}
    )
    with build_judge(f"openai:{model}", BUILTIN, options, cache=None) as judge:
        found = dict(judge.ask(questions))
    assert set(found) == set(range(6))
    outcomes = {judgement.outcome for judgement in found.values()}
    if structured == "choice":
        assert outcomes <= {Outcome.RESPOND, Outcome.REJECT}
    else:
        assert Outcome.FAILED not in outcomes, [one.error for one in found.values()]
