"""A revision can be pinned, and code of a repository runs only when the user says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.models import vllm_model
from spy_plugin.models.base import Decoding, ModelSetupError
from spy_plugin.models.build import build_model, model_name
from spy_plugin.models.checkpoint import Checkpoint
from spy_plugin.models.fake import FakeModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.repositories import split_revision
from spy_plugin.registry.catalog import models
from spy_plugin.runs.identity import describe_run
from tests.conftest import needs

NEEDS_CODE = next(model for model in models() if model.vllm and model.vllm.remote_code)


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("owner/name@abc123", ("owner/name", "abc123")),
        ("owner/name", ("owner/name", "")),
        ("@abc", ("@abc", "")),
        ("Qwen2-VL-7B@main", ("Qwen2-VL-7B", "main")),
    ],
)
def test_a_revision_follows_the_last_at_sign(model: str, parts: tuple[str, str]) -> None:
    assert split_revision(model) == parts


def test_a_folder_may_be_called_so(tmp_path: Path) -> None:
    folder = tmp_path / "my@model"
    folder.mkdir()
    assert split_revision(str(folder)) == (str(folder), "")


def test_a_pinned_revision_is_recorded_and_another_is_another_run(benchmark: Benchmark) -> None:
    model = FakeModel(backend="vllm", model="Qwen/Qwen2-VL-7B-Instruct@abc123")
    run = describe_run(benchmark, model, name=model_name(model.model))
    assert run.model == "Qwen2-VL-7B-Instruct"
    assert (run.model_path, run.model_revision) == (model.model, "abc123")
    assert model_name("Qwen2-VL-7B-Instruct@abc123") == "Qwen2-VL-7B-Instruct"


def test_vllm_loads_weights_and_tokenizer_of_the_revision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm_model, "require_vllm", lambda: None)
    model = vllm_model.VLLMModel("owner/name@abc", Decoding())
    assert model.model == "owner/name@abc"
    assert model.settings["revision"] == model.settings["tokenizer_revision"] == "abc"


@needs("transformers")
def test_transformers_loads_the_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    class StopError(Exception):
        pass

    def load(path: str, **options: Any) -> None:
        assert (path, options) == ("owner/name", {"revision": "abc", "trust_remote_code": True})
        raise StopError

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", load)
    with pytest.raises(StopError):
        Checkpoint("owner/name@abc", trust_remote_code=True)


@pytest.mark.parametrize(
    "options",
    [
        {"trust_remote_code": True},
        {"engine_args": {"trust_remote_code": True}},
    ],
)
def test_code_of_a_repository_runs_only_when_the_user_says_so(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_model, "require_vllm", lambda: None)
    with pytest.raises(ModelSetupError, match=r"runs Python code.*--trust-remote-code.*@REVISION"):
        build_model("vllm", NEEDS_CODE.name)
    model = build_model("vllm", NEEDS_CODE.name, ModelOptions(**options))
    assert model.settings["trust_remote_code"] is True
    plain = build_model("vllm", "Qwen2-VL-7B-Instruct")
    assert "trust_remote_code" not in plain.settings
