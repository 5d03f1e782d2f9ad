"""A small random Qwen2-VL in a real vLLM engine, and behind a real `vllm serve`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spy_plugin.models.base import Conversation, Decoding
from tests.models.on_ray.conftest import cluster  # noqa: F401

if TYPE_CHECKING:
    from spy_plugin.models.vllm_model import VLLMModel

TOKENS = 12
ENGINE_ARGS: dict[str, Any] = {
    "dtype": "float32",
    "block_size": 32,
    "max_model_len": 2048,
    "max_num_seqs": 8,
    "enforce_eager": True,
}
_START = 240.0  # seconds


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    from .small_models import save_qwen2_vl

    return save_qwen2_vl(tmp_path_factory.mktemp("models") / "small-qwen2-vl")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four different pictures of noise."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        bands = [Image.effect_noise((112, 84), 40 + 30 * number) for _ in range(3)]
        Image.merge("RGB", bands).save(path)
    return paths


@pytest.fixture(scope="session")
def conversations(pictures: list[Path]) -> list[Conversation]:
    """Three questions about each picture, one of them in a second turn."""
    asked = [("What is written on the badge?",), ("A card. Which name?",), ("One?", "a", "Two?")]
    return [
        Conversation(f"{number}/{question}", picture, turns, image_first=question != 1)
        for number, picture in enumerate(pictures)
        for question, turns in enumerate(asked)
    ]


@pytest.fixture(scope="session")
def backend(model: Path) -> Iterator[VLLMModel]:
    """The model in an engine of this process."""
    from spy_plugin.models.vllm_model import VLLMModel

    arguments = ENGINE_ARGS | {"disable_log_stats": False}
    made = VLLMModel(str(model), Decoding(max_tokens=TOKENS), engine_args=arguments)
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a `vllm serve` of the model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--{name.replace('_', '-')}" for name in ENGINE_ARGS]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    for option, value in zip(options, ENGINE_ARGS.values(), strict=True):
        command += [option] if value is True else [option, str(value)]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"vllm serve did not come up:\n{log.read_text()[-3000:]}")
