"""A request is bounded in time and size, goes to no other host, and can be a stream or Azure's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models import bounded_http
from spy_plugin.models.base import Conversation, Decoding, ModelSetupError, Reply
from spy_plugin.models.build import build_model
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.reply_body import NoCompletionError, parse_body
from spy_plugin.models.servers import Server
from tests.models.faulty_server import (
    KEY,
    FaultyServer,
    completion,
    error,
    packed,
    retry_quickly,
    stream,
)
from tests.models.faulty_server import Reply as Sent
from tests.on_time import within

Serve = Callable[..., FaultyServer]


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `retry_quickly`."""
    retry_quickly(monkeypatch)


def ask(url: str, count: int = 1, **options: Any) -> list[Reply]:
    chosen = ModelOptions(**({"retries": 0, "timeout": 5.0} | options))
    model = OpenAIModel("served", Decoding(), Server(url, KEY), chosen)
    talks = [Conversation(str(n), None, (f"Which {n}?",)) for n in range(count)]
    return sorted(model.ask(talks), key=lambda reply: int(reply.key))


def test_a_reply_that_drips_is_given_up_in_time(serve: Serve) -> None:
    drip = Sent(body=completion("never").body, fault="drip")
    server = serve(lambda body, _: drip if "Which 0" in str(body) else completion("ok"))
    with within(10):  # all of it would drip for 17 s
        slow, quick = ask(server.url, 2, timeout=1.5)
    assert (slow.outcome, quick.text) == (Outcome.FAILED, "ok")
    assert "within 1.5 s (--timeout)" in slow.error


@pytest.mark.parametrize(
    "sent",
    [
        Sent(body="x" * 2000),
        packed(b" " * 2000, str(completion("hi").body).encode()),
        packed(str(completion("A" * 2000).body).encode()),
        error(400, "y" * 2000),
    ],
    ids=["plain", "packed blanks", "packed answer", "error"],
)
def test_a_reply_over_the_limit_has_failed_once(
    serve: Serve, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "MAX_BYTES", 1500)
    server = serve(lambda body, _: sent)
    (reply,) = ask(server.url, retries=3)
    assert reply.outcome is Outcome.FAILED
    assert "exceeds the size limit of 1,500 bytes" in reply.error
    assert len(server.requests) == 1


def test_a_packed_reply_is_read_and_a_damaged_one_asked_again(serve: Serve) -> None:
    whole = packed(str(completion("hi").body).encode())
    torn = Sent(body=whole.body[:-9], headers=whole.headers)
    server = serve(lambda _, attempt: torn if attempt == 1 else whole)
    (reply,) = ask(server.url, retries=1)
    assert reply.text == "hi"
    assert len(server.requests) == 2
    unasked = serve(lambda *_: Sent(body=b"x", headers={"Content-Encoding": "br"}))
    assert "packed as br" in ask(unasked.url)[0].error


def test_a_redirect_is_not_followed_with_the_key(serve: Serve) -> None:
    other = serve(lambda *_: completion("ok"))
    away = Sent(307, headers={"Location": f"{other.url}/chat/completions"})
    with pytest.raises(ModelSetupError, match=r"redirects \(status 307\) to http://127"):
        ask(serve(lambda *_: away).url)
    assert other.requests == []


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "pip install socksio"),
        ("HTTP_PROXY", "odd://user:secret@127.0.0.1:9", "Check HTTP_PROXY"),
        ("SSL_CERT_FILE", "/no/such/file", "Check SSL_CERT_FILE"),
    ],
)
def test_an_environment_that_cannot_be_used_names_its_variable(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, problem: str
) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, value)
    if "socks" in value:
        monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ModelSetupError, match=problem) as caught:
        ask(serve(lambda *_: completion("ok")).url)
    assert "secret" not in str(caught.value)


def test_a_charset_in_place_of_an_encoding_is_no_packing(serve: Serve) -> None:
    mistaken = replace(completion("ok"), headers={"Content-Encoding": "UTF-8"})
    assert ask(serve(lambda *_: mistaken).url)[0].text == "ok"
    other = replace(completion("ok"), headers={"Content-Encoding": "br"})
    (reply,) = ask(serve(lambda *_: other).url)
    assert "packed as br, which was not asked for" in reply.error


@pytest.mark.parametrize("status", [421, 424, 499])
def test_a_status_that_passes_is_asked_again(serve: Serve, status: int) -> None:
    server = serve(
        lambda _, attempt: error(status, "broke off") if attempt == 1 else completion("ok")
    )
    (reply,) = ask(server.url, retries=1)
    assert (reply.text, len(server.requests)) == ("ok", 2)


def test_a_stream_is_read_as_one_answer(serve: Serve) -> None:
    server = serve(lambda *_: stream("It is ", "\u202812."))
    (reply,) = ask(server.url, request_args={"stream": True})
    assert (reply.text, reply.answered_by, reply.finish_reason) == (
        "It is \u202812.",
        "served",
        "stop",
    )
    assert server.requests[0]["stream"] is True


def test_a_server_that_only_streams_says_how_to_ask_it(serve: Serve) -> None:
    server = serve(lambda *_: error(400, "This model only supports stream mode."))
    (reply,) = ask(server.url)
    assert reply.outcome is Outcome.FAILED
    assert """Pass --request-args '{"stream": true}'""" in reply.error


@pytest.mark.parametrize(
    "body",
    [
        'data: {"choices": [{"delta": {"content": "It"}}]}\n\n',
        'data: {"choices": [{"delta"\n\n',
        "data: \n\n",
        '{"choices": ',
        "",
    ],
    ids=["cut", "torn", "empty event", "torn JSON", "empty"],
)
def test_what_is_no_whole_answer_is_asked_for_again(body: str) -> None:
    with pytest.raises(NoCompletionError):
        parse_body(body.encode())


def test_an_error_within_a_stream_takes_the_place_of_its_text() -> None:
    events = ({"choices": [{"delta": {"content": "It"}}]}, {"error": {"code": 429}})
    body = "".join(f"data: {json.dumps(event)}\r\n\r\n" for event in events)
    assert parse_body(body.encode()) == {"choices": None, "error": {"code": 429}}


def test_an_azure_address_keeps_its_version_and_gets_the_key_in_its_header(serve: Serve) -> None:
    server = serve(lambda *_: completion("ok"))
    base = server.url.replace("/v1", "/openai/deployments/d?api-version=2024-10-21")
    options = ModelOptions(base_url=base, api_key=KEY)
    with build_model("openai", "d", options) as model:
        (reply,) = model.ask([Conversation("k", None, ("q",))])
        assert model.server == base
    assert reply.text == "ok"
    assert server.paths == ["/openai/deployments/d/chat/completions?api-version=2024-10-21"]
    assert server.headers[0]["api-key"] == KEY


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "Unrecognized request argument supplied: seed"),
        Sent(422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}'),
    ],
)
def test_a_server_that_wants_no_seed_is_asked_without(serve: Serve, refusal: Sent) -> None:
    server = serve(lambda body, _: refusal if "seed" in body else completion("ok"))
    model = OpenAIModel("served", Decoding(seed=3), Server(server.url, KEY), ModelOptions())
    (reply,) = model.ask([Conversation("k", None, ("q",))])
    assert reply.text == "ok"
    assert model.decoded_with["seed"] is None
