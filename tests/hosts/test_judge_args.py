"""Settings of our judges that a host passes on as one JSON object."""

from __future__ import annotations

from typing import Any

import pytest

from spy_plugin.benchmarks import MINI, open_benchmark
from spy_plugin.errors import JudgeSetupError
from spy_plugin.hosts.judge_args import as_model_options
from spy_plugin.hosts.vlmeval.judging import judge_from_options
from spy_plugin.judging import ModelJudge
from spy_plugin.judging.cached_judge import CachedJudge
from spy_plugin.models.options import ModelOptions
from tests.conftest import needs

NOTHING = {
    "structured": None,
    "request_args": {},
    "engine_args": {},
    "ray": None,
    "engines": None,
}


@pytest.mark.parametrize(
    ("judge", "arguments", "fields"),
    [
        (None, {}, {}),
        ("openai:m", {"structured": "choice", "extra": {"n": 1}}, {"structured": "choice"}),
        ("vllm:m", {"max_model_len": 8}, {"engine_args": {"max_model_len": 8}}),
        ("vllm:m", {"ray": "local", "engines": 2}, {"ray": "local", "engines": 2}),
        ("transformers:m", {"ray": "auto", "engines": "auto"}, {"ray": "auto"}),
    ],
)
def test_each_setting_becomes_an_option_of_the_model(
    judge: str | None, arguments: dict[str, Any], fields: dict[str, Any]
) -> None:
    given = as_model_options(judge, arguments)
    if extra := arguments.get("extra"):
        fields = {**fields, "request_args": extra}
    assert given == NOTHING | fields
    assert ModelOptions(**given).engines == fields.get("engines")


@pytest.mark.parametrize(
    ("judge", "arguments", "problem"),
    [
        ("openai:m", {"max_model_len": 8}, "unknown judge option max_model_len"),
        (None, {"temprature": 0}, "unknown judge option temprature"),
        ("vllm:m", {"engines": 0}, "engines is 0. Give auto or a number"),
        ("vllm:m", {"engines": True}, "engines is True"),
        ("vllm:m", {"ray": 1}, "ray is 1. Give local, auto or an address"),
        ("openai:m", {"extra": "n=1"}, "extra is 'n=1'. Give a JSON object"),
    ],
)
def test_what_is_no_setting_of_this_judge_is_named(
    judge: str | None, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(JudgeSetupError, match=problem):
        as_model_options(judge, arguments)


@needs("torch")
@needs("ray")
def test_vlmevalkits_judge_runs_on_ray_when_asked() -> None:
    from spy_plugin.models.on_ray.model import RayModel

    given = {"model": "transformers:spy-tiny-base", "ray": "local", "engines": 1}
    judge = judge_from_options("mini", open_benchmark(MINI).protocol, given)
    assert isinstance(judge, CachedJudge)
    assert isinstance(judge.judge, ModelJudge)
    assert isinstance(judge.judge.model, RayModel)
    assert judge.judge.model.backend == "transformers"
