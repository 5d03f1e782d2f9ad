"""`models.thoughts`: what a model thinks aloud is kept apart from what it says."""

from __future__ import annotations

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import Reply
from spy_plugin.models.thoughts import split_thoughts


@pytest.mark.parametrize(
    ("text", "said", "thoughts"),
    [
        ("<think>Reject?</think>respond", "respond", "Reject?"),
        ("Reject?</think>\n\nrespond", "respond", "Reject?"),
        ("<think>Reject?", "", "Reject?"),
        ("<thinking>a</thinking> b", "b", "a"),
        ("<reasoning>a</reasoning>\nb", "b", "a"),
        ("[THINK]a[/THINK]b", "b", "a"),
        ("◁think▷a◁/think▷b", "b", "a"),
        ("<seed:think>a</seed:think>b", "b", "a"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant"
            "<|channel|>final<|message|>b<|return|>",
            "b",
            "a<|end|><|start|>assistant",
        ),
        (" I think, therefore. ", " I think, therefore. ", ""),
    ],
)
def test_thoughts_are_split_from_what_is_said(text: str, said: str, thoughts: str) -> None:
    assert split_thoughts(text) == (said, thoughts)


def test_a_reply_cut_in_thought_has_failed_and_names_the_limit() -> None:
    reply = Reply("k", "<think>Let me", finish_reason="length").without_thoughts(512)
    assert (reply.text, reply.thoughts, reply.outcome) == ("", "Let me", Outcome.FAILED)
    assert "limit of new tokens (512)" in reply.error


def test_an_answer_cut_after_its_thoughts_is_an_answer() -> None:
    reply = Reply("k", "<think>a</think>It is", finish_reason="length").without_thoughts(512)
    assert (reply.text, reply.thoughts, reply.outcome) == ("It is", "a", None)
