"""Logs of inspect_ai where it is not installed; tests/hosts/inspect reads real ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spy_plugin.benchmarks import open_benchmark
from spy_plugin.report.readers import NoResultsError, inspect, read_run
from spy_plugin.runs.metadata import new_run


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("openai-api/local/served", "served"),
        ("hf/Qwen/Qwen2-VL-7B-Instruct", "Qwen/Qwen2-VL-7B-Instruct"),
        ("spy/literal", "spy-literal"),
        ("spy/spy-literal", "spy-literal"),
        ("none", "none"),
    ],
)
def test_models_have_the_names_of_other_hosts(name: str, expected: str) -> None:
    assert inspect.model_name(name) == expected


def test_secrets_among_a_models_arguments_are_not_copied(tmp_path: Path) -> None:
    benchmark = open_benchmark("mini")
    samples = benchmark.samples(distractors=True)
    about = new_run(
        "mini", samples, benchmark.protocol, host="inspect_ai", dataset="d", model="",
        distractors=True,
    )  # fmt: skip
    config = {"seed": 3, "extra_headers": {"X-Route": "abcdefgh"}}
    log: Any = SimpleNamespace(
        eval=SimpleNamespace(
            metadata={inspect.METADATA_KEY: about.model_dump(mode="json", by_alias=True)},
            model="openai/gpt-4o",
            model_args={"azure_api_key": "abcdefgh", "device": "cpu"},
            config=SimpleNamespace(epochs=None),
        ),
        plan=SimpleNamespace(config=SimpleNamespace(model_dump=lambda exclude_none: config)),
        stats=SimpleNamespace(started_at="", completed_at="", model_usage={}),
        results=None,
        status="success",
    )
    run = inspect._run(tmp_path / "x.eval", log)
    assert run.options["model_args"] == {"azure_api_key": "***", "device": "cpu"}
    assert run.options["decoding"] == {"seed": 3, "extra_headers": {"X-Route": "***"}}
    assert (run.model, run.seed) == ("gpt-4o", 3)


def test_logs_are_known_by_their_beginning(tmp_path: Path) -> None:
    texts = {
        "a.eval": "PK",
        "b.json": '{\n  "version": 2,\n  "status": "success"',
        "c.json": '{"results": {}}',
        "d.txt": "PK",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    found = [name for name in texts if inspect.is_log(tmp_path / name)]
    assert found == ["a.eval", "b.json"]


def test_without_inspect_a_log_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "find_spec", lambda name: None)
    (tmp_path / "a.eval").write_bytes(b"PK")
    for path in (tmp_path, tmp_path / "a.eval"):
        with pytest.raises(NoResultsError, match=r"pip install 'spy-bench\[inspect\]'"):
            read_run(path)
