"""Structured output: the words of the decoding, or those of a conversation."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

import pytest

from spy_plugin.models.base import Conversation, Decoding, Reply, Structured
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.servers import Server
from spy_plugin.models.vllm_engine import Chat
from spy_plugin.models.vllm_model import VLLMModel

WORDS = ("respond", "reject")
PLAIN = Conversation("0", None, ("first?",))
YES_NO = Conversation("1", None, ("second?",), words=("yes", "no"))


def openai_model(structured: Structured | None, **request: Any) -> OpenAIModel:
    server = Server("http://127.0.0.1:9/v1", "key")
    decoding = Decoding(structured=structured)
    return OpenAIModel("m", decoding, server, ModelOptions(request_args=request))


def test_a_request_allows_the_words_of_its_conversation() -> None:
    model = openai_model(Structured(WORDS))
    found = [model.request(one)["structured_outputs"] for one in (PLAIN, YES_NO, PLAIN)]
    assert found == [{"choice": list(words)} for words in (WORDS, ("yes", "no"), WORDS)]
    schema = openai_model(Structured(WORDS, "json")).request(YES_NO)["response_format"]
    assert schema["json_schema"]["schema"]["properties"]["label"]["enum"] == ["yes", "no"]


def test_free_text_stays_free_and_the_users_own_fields_win() -> None:
    assert openai_model(None).request(YES_NO) == openai_model(None).request(PLAIN) | {
        "messages": YES_NO.messages(None)
    }
    given = {"choice": ["maybe"]}
    model = openai_model(Structured(WORDS), structured_outputs=given)
    assert model.request(YES_NO)["structured_outputs"] == given


def test_vllm_asks_conversations_with_other_words_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[tuple[str, ...], list[str]]] = []

    class Engine:
        """Replies at once."""

        def run(self, chats: Iterable[Chat], sampling: Any) -> Generator[Reply, None, None]:
            runs.append((sampling, []))
            for key, _ in chats:
                runs[-1][1].append(key)
                yield Reply(key, "yes")

    monkeypatch.setattr("spy_plugin.models.vllm_model.require_vllm", lambda: None)
    monkeypatch.setattr(VLLMModel, "_sampling", lambda self, words: words)
    model = VLLMModel("m", Decoding(structured=Structured(WORDS)))
    vars(model)["engine"] = Engine()
    other = Conversation("2", None, ("third?",))
    assert [reply.key for reply in model.ask([PLAIN, other, YES_NO])] == ["0", "2", "1"]
    assert runs == [((), ["0", "2"]), (("yes", "no"), ["1"])]
    assert list(model.ask([])) == []
    assert len(runs) == 2
