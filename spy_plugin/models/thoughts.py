"""Separate what a reasoning model thinks aloud from what it says, where its server leaves both in.

A model's thoughts are kept in a field of their own; they are neither scored nor read as a verdict.
"""

from __future__ import annotations

import re

_TAGS = "think|thinking|thought|thoughts|reasoning|seed:think"
_START = re.compile(rf"<(?:{_TAGS})>|\[THINK\]|◁think▷|<\|channel\|>analysis<\|message\|>")
_END = re.compile(rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>")
_AFTER = re.compile(r"<\|(?:return|end)\|>\s*\Z")


def split_thoughts(text: str) -> tuple[str, str]:
    """Return what a text says and the thoughts in it, each without blanks around it.

    The thoughts end at the last closing marker, whether or not they were opened: chat templates
    often hold the opening one. Thoughts that were never closed reach to the end of the text. A text
    without a marker is returned unchanged.
    """
    ends = list(_END.finditer(text))
    if ends:
        before, said = text[: ends[-1].start()], _AFTER.sub("", text[ends[-1].end() :])
        return said.strip(), _START.sub("", before, count=1).strip()
    start = _START.search(text)
    if start is None:
        return text, ""
    return text[: start.start()].strip(), text[start.end() :].strip()
