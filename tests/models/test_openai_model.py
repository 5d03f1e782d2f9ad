"""`OpenAIModel` against a server process that misbehaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models import openai_model
from spy_plugin.models.base import Conversation, Decoding, ModelSetupError, Reply
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.servers import Server
from tests.models.faulty_process import FILTERS, PASSING, ServerProcess, said
from tests.models.faulty_server import (
    KEY,
    completion,
    error,
    retry_quickly,
)
from tests.models.faulty_server import Reply as Sent

Make = Callable[..., OpenAIModel]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `retry_quickly`."""
    retry_quickly(monkeypatch)


@pytest.fixture
def make() -> Make:
    def build(url: str, decoding: Decoding | None = None, **options: Any) -> OpenAIModel:
        reasoning = options.pop("reasoning", False)
        chosen = ModelOptions(**({"retries": 2, "timeout": 5.0} | options))
        server = Server(url, KEY)
        return OpenAIModel("served", decoding or Decoding(), server, chosen, reasoning=reasoning)

    return build


@pytest.fixture
def talks(pictures: Path) -> list[Conversation]:
    return [Conversation(str(n), pictures / f"{n // 3}.png", (f"Which {n}?",)) for n in range(12)]


def replies(backend: OpenAIModel, talks: list[Conversation]) -> list[Reply]:
    found = {reply.key: reply for reply in backend.ask(talks)}
    assert sorted(found) == sorted(talk.key for talk in talks)
    return [found[talk.key] for talk in talks]


def test_each_conversation_gets_its_own_answer(
    server: ServerProcess, make: Make, talks: list[Conversation]
) -> None:
    found = replies(make(server.url), talks)
    assert [reply.text for reply in found] == [said(list(talk.turns)) for talk in talks]
    assert {reply.outcome for reply in found} == {None}


def test_the_picture_is_in_the_first_message_before_or_after_its_text() -> None:
    model = OpenAIModel("m", Decoding(), Server(None, KEY))
    talk = Conversation("s", Path("p.png"), ("one", "two", "three"))
    picture = {"type": "image_url", "image_url": {"url": "data:x"}}
    text = {"type": "text", "text": "one"}
    assert model.request(talk, "data:x")["messages"] == [
        {"role": "user", "content": [picture, text]},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    last = Conversation("s", Path("p.png"), ("one",), image_first=False)
    assert model.request(last, "data:x")["messages"][0]["content"] == [text, picture]
    bare = Conversation("s", None, ("one",))
    assert model.request(bare)["messages"] == [{"role": "user", "content": "one"}]


@pytest.mark.parametrize(
    ("decoding", "options", "sent"),
    [
        (Decoding(), {}, {"temperature": 0.0, "max_tokens": 512}),
        (Decoding(0.7, None, 3), {}, {"temperature": 0.7, "seed": 3}),
        (Decoding(1.0, None), {"reasoning": True}, {"temperature": 1.0}),
        (
            Decoding(1.0, 900),
            {"reasoning": True},
            {"temperature": 1.0, "max_completion_tokens": 900},
        ),
        (
            Decoding(),
            {"request_args": {"top_p": 1}},
            {"temperature": 0.0, "max_tokens": 512, "top_p": 1},
        ),
    ],
)
def test_decoding_reaches_the_server(
    decoding: Decoding,
    options: dict[str, Any],
    sent: dict[str, Any],
    serve: Any,
    make: Make,
    talks: list[Conversation],
) -> None:
    server = serve(lambda *_: completion("yes"))
    replies(make(server.url, decoding, **options), talks[:1])
    (body,) = server.requests
    assert {k: v for k, v in body.items() if k not in ("messages", "model")} == sent


@pytest.mark.parametrize(
    "fields", [{"messages": []}, {"model": "other"}, {"n": 3}, {"extra_body": {"messages": []}}]
)
def test_a_field_that_would_change_what_is_asked_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelSetupError, match="would take the place of what this command asks"):
        OpenAIModel("m", Decoding(), Server("http://x/v1", "k"), ModelOptions(request_args=fields))


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_costs_an_attempt_and_no_answer(
    server: ServerProcess, make: Make, talks: list[Conversation], fault: str
) -> None:
    server.command(faults=[fault])
    found = replies(make(server.url), talks[:4])
    assert [reply.text for reply in found] == [said(list(talk.turns)) for talk in talks[:4]]
    assert len(server.command()) == 8


@pytest.mark.parametrize("fault", [*PASSING, "too long"])
def test_a_lasting_fault_is_a_failure_with_a_reason(
    server: ServerProcess, make: Make, talks: list[Conversation], fault: str
) -> None:
    server.command(faults=[fault], lasting=True)
    found = replies(make(server.url, retries=1), talks[:4])
    assert [reply.outcome for reply in found] == [Outcome.FAILED] * 4
    assert all(reply.error and not reply.text for reply in found)


@pytest.mark.parametrize("fault", FILTERS)
def test_what_the_provider_filters_is_filtered_at_once(
    server: ServerProcess, make: Make, talks: list[Conversation], fault: str
) -> None:
    server.command(faults=[fault])
    found = replies(make(server.url), talks[:4])
    assert [reply.outcome for reply in found] == [Outcome.FILTERED] * 4
    assert all("filtered" in reply.error for reply in found)
    assert len(server.command()) == 4


def test_a_server_that_hangs_fails_its_sample_and_no_other(
    server: ServerProcess, make: Make, talks: list[Conversation]
) -> None:
    server.command(faults=["hang"], every=6, lasting=True)
    found = replies(make(server.url, timeout=0.3, retries=1), talks)
    failed = [reply for reply in found if reply.outcome is Outcome.FAILED]
    assert 0 < len(failed) < len(talks)
    assert all("Timeout" in reply.error for reply in failed)


def test_another_model_than_the_asked_is_reported_once(
    server: ServerProcess, make: Make, talks: list[Conversation], caplog: pytest.LogCaptureFixture
) -> None:
    server.command(faults=["wrong model"])
    replies(make(server.url), talks)
    assert caplog.text.count("another-model answered") == 1


@pytest.mark.parametrize(
    ("sent", "text", "outcome"),
    [
        (completion(None, refusal="I can't help."), "I can't help.", None),
        (completion(""), "", None),
        (completion("", finish="length"), "", Outcome.FAILED),
        (completion("half an ans", finish="length"), "half an ans", None),
    ],
    ids=["declined", "said nothing", "thought too long", "cut off"],
)
def test_what_the_model_said_is_its_answer(
    sent: Sent,
    text: str,
    outcome: Outcome | None,
    serve: Any,
    make: Make,
    talks: list[Conversation],
) -> None:
    server = serve(lambda *_: sent)
    (reply,) = replies(make(server.url), talks[:1])
    assert (reply.text, reply.outcome) == (text, outcome)
    assert len(server.requests) == 1


def test_a_broken_picture_fails_its_samples_without_a_request(
    server: ServerProcess, make: Make, talks: list[Conversation], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no")
    found = replies(make(server.url), [Conversation("x", broken, ("q",)), *talks])
    assert found[0].outcome is Outcome.FAILED
    assert "picture cannot be read" in found[0].error
    assert len(server.command()) == len(talks)


def test_a_picture_is_encoded_once_and_shared(
    server: ServerProcess, make: Make, talks: list[Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Path] = []
    encode = openai_model.data_url
    monkeypatch.setattr(
        openai_model, "data_url", lambda path: (encoded.append(path), encode(path))[1]
    )
    replies(make(server.url), talks)
    assert sorted(encoded) == sorted({talk.image for talk in talks})


def test_requests_are_bounded_and_conversations_drawn_as_there_is_room(
    serve: Any, make: Make, talks: list[Conversation]
) -> None:
    drawn: list[int] = []

    def script(body: dict[str, Any], _: int) -> Sent:
        time.sleep(0.02)
        return completion("yes")

    def many() -> Iterator[Conversation]:
        for number in range(60):
            drawn.append(number)
            yield Conversation(str(number), talks[0].image.with_name("0.png"), (f"{number}",))

    server = serve(script)
    stream = make(server.url, concurrency=3).ask(many())
    assert next(stream).text == "yes"
    assert server.most_at_once <= 3
    assert len([*stream]) == 59
    assert 1 < server.most_at_once <= 3
    assert len(drawn) == 60


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_model_ends_the_run_at_once(
    serve: Any, make: Make, talks: list[Conversation], status: int
) -> None:
    server = serve(lambda *_: error(status, f"no access with {KEY}"))
    with pytest.raises(ModelSetupError, match=r"served cannot be asked.*OPENAI_API_KEY") as caught:
        list(make(server.url, concurrency=1).ask(talks))
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


def test_a_server_that_only_fails_is_given_up(serve: Any, make: Make, pictures: Path) -> None:
    server = serve(lambda *_: error(500, "down"))
    talks = [Conversation(str(n), pictures / "0.png", (f"{n}",)) for n in range(300)]
    with pytest.raises(ModelSetupError, match="in a row"):
        list(make(server.url, retries=0).ask(talks))
    assert len(server.requests) < 60


def test_no_error_or_log_shows_the_key(
    serve: Any, make: Make, talks: list[Conversation], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(lambda *_: error(400, f"your header was Authorization: Bearer {KEY}"))
    found = replies(make(server.url), talks)
    assert all("***" in reply.error and KEY not in reply.error for reply in found)
    assert KEY not in caplog.text


def test_text_that_cannot_be_stored_is_made_storable_on_arrival(
    serve: Any, make: Make, talks: list[Conversation]
) -> None:
    server = serve(lambda *_: completion("half \ud83d\0 \x1b[2J"))
    (reply,) = replies(make(server.url), talks[:1])
    assert reply.text == "half \ufffd\ufffd \ufffd[2J"


def test_a_too_long_request_does_not_take_the_limit_off_later_ones(
    serve: Any, make: Make, talks: list[Conversation]
) -> None:
    said = (
        "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context "
        "length is 2048 tokens and your request has 1900 input tokens."
    )
    server = serve(lambda body, _: error(400, said) if "Which 1" in str(body) else completion("ok"))
    found = replies(make(server.url, concurrency=1), talks[:4])
    assert [reply.outcome for reply in found] == [None, Outcome.FAILED, None, None]
    assert {body["max_tokens"] for body in server.requests} == {512}


def test_a_field_is_renamed_or_left_out_when_the_server_says_so(
    serve: Any, make: Make, talks: list[Conversation]
) -> None:
    def script(body: dict[str, Any], _: int) -> Sent:
        if "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return error(400, said, param="max_tokens")
        if "temperature" in body:
            return error(400, "'temperature' does not support 0.0 with this model.")
        return completion("ok")

    server = serve(script)
    model = make(server.url, concurrency=1)
    assert {reply.outcome for reply in replies(model, talks)} == {None}
    assert server.requests[-1]["max_completion_tokens"] == 512
    assert "temperature" not in server.requests[-1]
    assert model.decoded_with["temperature"] is None
    assert model.decoded_with["max_tokens"] == 512


@pytest.mark.parametrize("hint", ["", " Use 'max_tokens' or 'max_completion_tokens' instead."])
def test_a_server_that_takes_no_name_of_a_field_is_asked_without_it(
    serve: Any, make: Make, talks: list[Conversation], hint: str
) -> None:
    def script(body: dict[str, Any], number: int) -> Sent:
        for name in ("max_tokens", "max_completion_tokens"):
            if name in body and number < 50:  # a loop would end there, and the test with it
                return error(400, f"Unsupported parameter: '{name}'.{hint}", param=name)
        return completion("ok")

    server = serve(script)
    model = make(server.url, concurrency=1)
    assert {reply.outcome for reply in replies(model, talks[:2])} == {None}
    assert len(server.requests) <= 4
    assert not {"max_tokens", "max_completion_tokens"} & server.requests[-1].keys()
    assert model.decoded_with["max_tokens"] is None


def test_a_server_that_refuses_every_field_for_ever_fails_the_request(
    serve: Any, make: Make, talks: list[Conversation]
) -> None:
    said = "Unsupported: 'temperature', 'seed', 'max_tokens'. Use 'max_completion_tokens' instead."
    server = serve(lambda *_: error(400, said))
    found = replies(make(server.url, concurrency=1), talks[:1])
    assert [reply.outcome for reply in found] == [Outcome.FAILED]
    assert len(server.requests) <= 5


def test_a_reply_nested_too_deep_has_failed(
    serve: Any, make: Make, talks: list[Conversation]
) -> None:
    deep = Sent(body='{"choices": ' + "[" * 100_000 + "]" * 100_000 + "}")
    server = serve(lambda body, _: deep if "Which 1" in str(body) else completion("ok"))
    found = replies(make(server.url, retries=0), talks[:3])
    assert [reply.outcome for reply in found] == [None, Outcome.FAILED, None]
