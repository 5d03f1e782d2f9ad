"""Two real engines on Ray, one of which is killed: each sample is answered once, with one text."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.models.base import Conversation, Decoding, Reply
from spy_plugin.models.on_ray.model import RayModel
from spy_plugin.models.vllm_model import VLLMModel
from spy_plugin.models.watchdog import _descendants

from .conftest import ENGINE_ARGS, TOKENS

pytestmark = pytest.mark.vllm


def engines() -> list[int]:
    """The processes that hold an engine."""
    found = []
    for pid in _descendants([os.getpid()]):
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"ray::Worker" in title:
            found.append(pid)
    return found


def test_a_killed_engine_loses_no_sample_and_changes_no_text(
    cluster: Any, backend: VLLMModel, model: Path, conversations: list[Conversation]
) -> None:
    talks = [
        Conversation(f"{talk.key}/{number}", talk.image, (f"{number}: {talk.turns[0]}",))
        for talk in conversations
        for number in range(5)
    ]
    expected = {reply.key: reply.text for reply in backend.ask(talks)}
    engine = VLLMModel(str(model), Decoding(max_tokens=TOKENS), engine_args=ENGINE_ARGS)
    replies: list[Reply] = []
    with RayModel(engine, cluster.address, 2, {}) as many:
        for reply in many.ask(talks):
            replies.append(reply)
            if len(replies) == 5:
                os.kill(engines()[0], signal.SIGKILL)
        lost = many.status()["lost"]
    assert lost == 1
    assert sorted(reply.key for reply in replies) == sorted(expected)
    assert {reply.key: reply.text for reply in replies} == expected
