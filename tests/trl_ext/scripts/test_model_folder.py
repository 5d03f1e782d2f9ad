"""A model that is not there is one line, before torch is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.errors import SpyBenchError
from tests.on_time import within
from trl_ext.scripts._model_folder import check_model_folder


@pytest.fixture(autouse=True)
def empty_hub(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("name", ["./none", "/none/model", "a/b/c", "outputs/none", "none/"])
def test_a_path_without_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    for words in (["--model_name_or_path", name], [f"--model_name_or_path={name}"]):
        with pytest.raises(SpyBenchError, match=f"the model folder {name} does not exist"):
            check_model_folder([*words, "--data", "mini"])


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpyBenchError, match=r"holds no config\.json"):
        check_model_folder(["--model_name_or_path", str(tmp_path)])
    (tmp_path / "config.json").write_text("{}")
    check_model_folder(["--model_name_or_path", str(tmp_path)])


def test_a_file_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(SpyBenchError, match=r"model is a file\. Give the folder"):
        check_model_folder(["--model_name_or_path", "model"])


def test_models_of_the_package_are_known_by_name(monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    check_model_folder(["--model_name_or_path", "spy-tiny-random"])


def test_a_name_of_the_hub_is_left_to_transformers_unless_offline(
    tmp_path: Path, monkeypatch: Any
) -> None:
    words = ["--model_name_or_path", "Qwen/Qwen2-VL-2B-Instruct"]
    check_model_folder(words)
    check_model_folder(["--data", "mini"])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SpyBenchError, match="nor is it in the cache of the Hub"):
        check_model_folder(words)
    (tmp_path / "hub" / "models--Qwen--Qwen2-VL-2B-Instruct").mkdir(parents=True)
    check_model_folder(words)


def test_settings_files_may_name_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("model_name_or_path: ./none\n")
    with pytest.raises(SpyBenchError, match=r"the model folder \./none"):
        check_model_folder(["--config", "own.yaml"])
    (tmp_path / "config.json").write_text("{}")
    check_model_folder(["--config", "own.yaml", "--model_name_or_path", str(tmp_path)])
    (tmp_path / "own.yaml").write_text("a: [\n")
    check_model_folder(["--config=own.yaml"])  # the parser says what is wrong with it


@pytest.mark.parametrize("launcher", [(), ("--accelerate", "ddp", "--num-processes", "2")])
def test_the_command_says_so_in_one_line_and_at_once(launcher: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "spy_plugin.cli", "train", *launcher, "nca_priv"]
    with within(20):
        done = subprocess.run(
            [*command, "--model_name_or_path", "./none", "--data", "mini"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    [line] = (done.stdout + done.stderr).strip().splitlines()
    assert "./none does not exist" in line
