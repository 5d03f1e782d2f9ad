"""Which server is asked, and which key it gets: never a key that was meant for another."""

from __future__ import annotations

import pytest

from spy_plugin.cli.main import main
from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.options import JUDGE, MODEL, ModelOptions, Role
from spy_plugin.models.servers import Server, find_server
from spy_plugin.registry.schema import ApiRun

OPENAI = "https://api.openai.com/v1"
OTHER = "https://api.other.example/v1"
PROXY = "https://proxy.example/v1"
LOCAL = "http://localhost:8000/v1"
GEMINI = ApiRun(model="g", base_url="https://gemini.example/v1", key_variable="GOOGLE_API_KEY")

ROLES = pytest.mark.parametrize("role", [MODEL, JUDGE], ids=["model", "judge"])


def found(
    url: str | None = None, role: Role = MODEL, api: ApiRun | None = None, **keys: str
) -> tuple[str | None, str]:
    options = ModelOptions(base_url=url, **keys)  # type: ignore[arg-type]
    server = find_server("m", options, role, api)
    return server.url, server.key


@ROLES
@pytest.mark.parametrize(
    ("url", "needs_key"),
    [
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.1:8000/v1", False),
        ("http://[::1]:8000/v1", False),
        ("http://192.168.0.7/v1", False),
        ("http://node17:8000/v1", False),
        ("https://api.other.example/v1", True),
        ("https://8.8.8.8/v1", True),
    ],
)
def test_only_a_local_server_needs_no_key(role: Role, url: str, needs_key: bool) -> None:
    if needs_key:
        with pytest.raises(ModelSetupError, match="no key"):
            found(url, role=role)
    else:
        assert found(url, role=role) == (url, "none")


@ROLES
def test_openais_key_goes_to_openai_or_its_named_proxy_alone(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    assert found(role=role) == (None, "openai-key")
    assert found(OPENAI, role=role) == (OPENAI, "openai-key")
    assert found(LOCAL, role=role) == (LOCAL, "none")
    # Neither in clear text, nor to a name that only begins alike.
    for url in (OTHER, "http://api.openai.com/v1", "https://api.openai.com.other.example/v1"):
        with pytest.raises(ModelSetupError, match=r"no key.*--key-variable"):
            found(url, role=role)
    monkeypatch.setenv("OPENAI_BASE_URL", PROXY)
    assert found(role=role) == (PROXY, "openai-key")
    assert found(f"{PROXY}/", role=role) == (f"{PROXY}/", "openai-key")
    with pytest.raises(ModelSetupError, match="no key"):
        found(OTHER, role=role)
    monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    assert found(LOCAL, role=role) == (LOCAL, "openai-key")
    assert found("http://localhost:9000/v1", role=role)[1] == "none"


def test_the_judges_own_key_comes_first_and_goes_to_the_judges_server_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    monkeypatch.setenv("JUDGE_API_KEY", "judge-key")
    assert found(role=JUDGE) == (None, "judge-key")
    assert found(OTHER, role=JUDGE) == (OTHER, "judge-key")
    assert found(role=JUDGE, api_key="given") == (None, "given")
    assert found() == (None, "openai-key")  # the model is not the judge
    monkeypatch.setenv("JUDGE_BASE_URL", PROXY)
    assert found(role=JUDGE) == (PROXY, "judge-key")
    assert found(OPENAI, role=JUDGE) == (OPENAI, "openai-key")
    with pytest.raises(ModelSetupError, match="no key"):
        found(OTHER, role=JUDGE)


@ROLES
def test_a_providers_key_goes_to_that_provider_alone(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    with pytest.raises(ModelSetupError, match=r"Set .*GOOGLE_API_KEY"):
        found(role=role, api=GEMINI)
    monkeypatch.setenv("GOOGLE_API_KEY", "google-key")
    assert found(role=role, api=GEMINI) == (GEMINI.base_url, "google-key")
    assert found(LOCAL, role=role, api=GEMINI) == (LOCAL, "none")
    with pytest.raises(ModelSetupError, match="no key"):
        found(OTHER, role=role, api=GEMINI)
    monkeypatch.setenv("OPENAI_BASE_URL", PROXY)
    assert found(role=role, api=GEMINI)[0] == GEMINI.base_url


@ROLES
def test_the_key_of_any_other_server_is_named_by_its_variable(
    role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    with pytest.raises(ModelSetupError, match="Set MY_KEY"):
        found(LOCAL, role=role, key_variable="MY_KEY")
    monkeypatch.setenv("MY_KEY", "mine")
    assert found(OTHER, role=role, key_variable="MY_KEY") == (OTHER, "mine")


@ROLES
def test_a_key_in_place_of_its_variable_is_refused_and_not_shown(role: Role) -> None:
    with pytest.raises(ModelSetupError, match="the name of an environment variable") as caught:
        found(LOCAL, role=role, key_variable="sk-0123456789")
    assert "0123456789" not in str(caught.value)


@ROLES
@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel", "  ", '"sk-quoted"', "'sk-quoted'"])
def test_an_odd_key_is_refused_and_not_shown(role: Role, key: str) -> None:
    with pytest.raises(ModelSetupError, match="unusual character") as caught:
        found(role=role, api_key=key)
    assert key.strip() == "" or key not in str(caught.value)


@ROLES
@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://", "http://u:pw@h/v1"])
def test_an_odd_address_is_refused(role: Role, url: str) -> None:
    with pytest.raises(ModelSetupError, match="base URL") as caught:
        found(url, role=role, api_key="k")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "used"),
    [
        (f"{LOCAL}/chat/completions", LOCAL),
        (f"{LOCAL}/chat/completions/", LOCAL),
        (f"{LOCAL}/", f"{LOCAL}/"),
        (f" {LOCAL}\n", LOCAL),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_the_whole_address_of_completions_is_taken_as_well(url: str, used: str) -> None:
    assert found(url)[0] == used


def test_what_to_check_tells_of_a_missing_path_and_of_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def check(url: str) -> str:
        return find_server("m", ModelOptions(base_url=url)).check

    assert check(LOCAL) == "--base-url, the model's name"
    assert check("http://localhost:8000/") == "--base-url (most end in /v1), the model's name"
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy:3128")
    assert "the proxy in HTTP_PROXY" in check(LOCAL)
    assert "secret" not in check(LOCAL)
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert "proxy" not in check(LOCAL)


def test_a_key_is_not_in_a_servers_repr() -> None:
    assert "secret" not in repr(Server(OTHER, "secret"))


def test_both_commands_spell_the_options_of_a_model_alike(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared = {}
    for command in ("generate", "self-moderate", "judge", "judge-check"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        words = capsys.readouterr().out.split()
        shared[command] = {word.strip("[],") for word in words if word.startswith(("--", "[--"))}
    expected = {"--base-url", "--key-variable", "--concurrency", "--retries", "--timeout"}
    expected |= {"--request-args", "--engine-args", "--batch-size"}
    assert all(expected <= options for options in shared.values()), shared
