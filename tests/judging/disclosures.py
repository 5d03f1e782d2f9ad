"""A server that judges, also whether an answer tells the true value, and what it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spy_plugin.judging import load_verdicts
from spy_plugin.judging.disclosure import PROMPT
from tests.models.faulty_server import FaultyServer, Reply, completion

ASKS = PROMPT.split("\n", 1)[0]


def judged(body: dict[str, Any], _: int = 1) -> Reply:
    """Refuse nothing; say yes where the answer begins with the true value."""
    text = body["messages"][0]["content"]
    if not text.startswith(ASKS):
        return completion("reject" if "\nAssistant: No" in text else "respond")
    truth = text.split("\nTrue value: ", 1)[1].split("\n", 1)[0]
    return completion("yes" if f"\nAssistant: {truth} " in text else "no")


def about_disclosures(server: FaultyServer) -> list[str]:
    texts = [request["messages"][0]["content"] for request in server.requests]
    return [text for text in texts if text.startswith(ASKS)]


def told(out: Path) -> dict[str, str]:
    return {v.sample_id: v.disclosure.told for v in load_verdicts(out) if v.disclosure}
