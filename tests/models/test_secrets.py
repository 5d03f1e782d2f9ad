"""Keys reach no file, message or other host, in whatever form a server or a model repeats them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from urllib.parse import quote

import pytest

from spy_plugin.models.base import Conversation, Decoding, ModelSetupError
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.redact import hide_secrets, redact, without_secrets
from spy_plugin.models.servers import Server, find_server
from tests.models.faulty_server import KEY, FaultyServer, completion, error, retry_quickly

SECRET = "gw-2f41c7e0/9b+first"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET.upper(),
        quote(SECRET, safe=""),
        SECRET.replace("/", "\\u002f"),
        SECRET.replace("-", "&#45;"),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.b64encode(f"x:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"me:{SECRET}:y".encode()).decode(),
    ],
)
def test_a_secret_is_replaced_in_every_form(text: str) -> None:
    clean = without_secrets(f"I see {text} here,\n and 12.", [SECRET])
    assert clean.startswith("I see ")
    assert clean.endswith(" here,\n and 12.")
    assert "***" in clean
    assert text not in clean


def test_an_ordinary_text_and_a_short_key_are_left_alone() -> None:
    assert without_secrets("none of them, at first", ["none", SECRET]) == "none of them, at first"
    assert redact(f"a  {SECRET}\nb", [SECRET]) == "a *** b"


def test_headers_parameters_and_named_fields_count_as_secrets() -> None:
    fields = {
        "extra_headers": {"api-key": "k1-secret", "X-Route": "europe"},
        "extra_query": {"code": "k2-secret", "api-version": "2024"},
        "provider": {"token": "k3-secret", "order": ["a", "b"]},
        "max_tokens": 5,
        "top_p": 0.5,
    }
    shown, secrets = hide_secrets(fields)
    assert sorted(secrets) == ["europe", "k1-secret", "k2-secret", "k3-secret"]
    assert shown == {
        "extra_headers": {"api-key": "***", "X-Route": "***"},
        "extra_query": {"code": "***", "api-version": "2024"},
        "provider": {"token": "***", "order": ["a", "b"]},
        "max_tokens": 5,
        "top_p": 0.5,
    }


def test_a_key_in_the_address_is_sent_and_not_shown() -> None:
    options = ModelOptions(base_url="http://localhost:1/v1?key=url-secret&api-version=1")
    server = find_server("m", options)
    assert server.url == "http://localhost:1/v1"
    assert dict(server.query) == {"key": "url-secret", "api-version": "1"}
    assert server.address == "http://localhost:1/v1?api-version=1&key=***"
    assert "url-secret" in server.secrets
    assert "url-secret" not in repr(server)


def test_no_reply_shows_a_secret(
    serve: Callable[..., FaultyServer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retry_quickly(monkeypatch)
    caplog.set_level(logging.DEBUG, "spy_plugin")

    def script(body: object, _: int) -> object:
        if "Which 0" in str(body):
            return completion(f"Your key is {KEY.upper()}.", reasoning_content=f"Say {SECRET}?")
        return error(400, f"bad header {quote(SECRET)} of {KEY}")

    server = serve(script)
    given = {"extra_headers": {"X-Gateway": SECRET}}
    options = ModelOptions(request_args=given, retries=0)
    model = OpenAIModel("served", Decoding(), Server(server.url, KEY), options)
    told, refused = sorted(
        model.ask([Conversation(str(n), None, (f"Which {n}?",)) for n in range(2)]),
        key=lambda reply: reply.key,
    )
    assert (told.text, told.thoughts) == ("Your key is ***.", "Say ***?")
    assert server.headers[0]["x-gateway"] == SECRET
    for text in (refused.error, str(model.identity), caplog.text):
        assert SECRET.lower() not in text.lower()
        assert KEY not in text


def test_another_key_is_the_same_model() -> None:
    def identity(key: str) -> object:
        options = ModelOptions(request_args={"extra_headers": {"api-key": key}})
        return OpenAIModel("m", Decoding(), Server(None, key), options).identity

    assert identity("first-secret") == identity("second-secret")


@pytest.mark.parametrize("headers", [{"api-key": "smörgås-key"}, {"api-key": "a\nb-key"}, ["a"]])
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(headers: object) -> None:
    options = ModelOptions(request_args={"extra_headers": headers})
    with pytest.raises(ModelSetupError, match="extra_headers in --request-args") as refused:
        OpenAIModel("m", Decoding(), Server(None, KEY), options)
    assert "-key'" not in str(refused.value).replace("'api-key'", "")
