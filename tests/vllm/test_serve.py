"""A real `vllm serve`, asked through the OpenAI backend and by a judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from spy_plugin.judging.openai_judge import OpenAIJudge, Settings
from spy_plugin.models.openai_backend import OpenAIBackend

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.judging.base import Question
from spy_plugin.models.base import Conversation, Decoding

from .conftest import TOKENS

if TYPE_CHECKING:
    from spy_plugin.models.vllm_backend import VLLMBackend

pytestmark = pytest.mark.vllm


def test_the_server_answers_as_the_engine_in_this_process(
    server: str, model: Path, backend: VLLMBackend, conversations: list[Conversation]
) -> None:
    decoding = Decoding(max_tokens=TOKENS)
    served = OpenAIBackend(str(model), decoding, api_key="none", base_url=server, concurrency=4)
    found = {reply.sample_id: reply for reply in served.answer(conversations)}
    own = {reply.sample_id: reply for reply in backend.answer(conversations)}
    assert {key: reply.text for key, reply in found.items()} == {
        key: reply.text for key, reply in own.items()
    }
    assert all(found[key].input_tokens == own[key].input_tokens for key in own)


def test_a_broken_picture_fails_alone_at_the_server(
    server: str, model: Path, conversations: list[Conversation], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(conversations[0].image.read_bytes()[:3000])
    served = OpenAIBackend(
        str(model), Decoding(max_tokens=TOKENS), api_key="none", base_url=server, retries=0
    )
    talks = [*conversations[:2], Conversation("cut", cut, ("Which?",))]
    found = {reply.sample_id: reply.outcome for reply in served.answer(talks)}
    assert found == {"0/0": None, "0/1": None, "cut": Outcome.FAILED}


@pytest.mark.parametrize("structured", [None, "choice", "json"])
def test_a_structured_judge_says_one_of_the_two_words(
    server: str, model: Path, structured: str | None
) -> None:
    questions = [
        Question("a31_passport", "passport", "Which number?", f"It is {number}.")
        for number in range(6)
    ]
    # An untrained model fills what JSON allows with blanks: the words, but not their limit.
    settings = Settings(structured=structured, retries=0, extra={"max_tokens": 64})
    judge = OpenAIJudge(str(model), BUILTIN, api_key="none", base_url=server, settings=settings)
    found = dict(judge.ask(questions))
    assert set(found) == set(range(6))
    outcomes = {judgement.outcome for judgement in found.values()}
    if structured == "choice":
        assert outcomes <= {Outcome.RESPOND, Outcome.REJECT}
    else:
        assert Outcome.FAILED not in outcomes, [one.error for one in found.values()]
