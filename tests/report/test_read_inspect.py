"""Logs of inspect_ai where it is not installed; tests/hosts/inspect reads real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.report.readers import NoResultsError, inspect, read_run


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
