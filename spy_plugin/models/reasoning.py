"""Which models think before they answer: by an option, the registry, or else by their names."""

from __future__ import annotations

import re

CHOICES = ("auto", "yes", "no")
"""`ModelOptions.reasoning`; ``auto`` is what the registry says, else `is_reasoning`."""

_OPENAI = re.compile(
    r"(?:o[134]|gpt-5(?:\.\d+)?)(?:-(?:mini|nano|pro|preview|codex|deep|high|medium|low|\d)|[@:]|$)"
)
_GEMINI = re.compile(r"gemini-(?:2\.5-(?:pro|flash(?!-lite))|[3-9])")
_WORDS = re.compile(r"(?:^|[-_.])(?:thinking|think|reasoner|reasoning|r1|qwq|qvq)(?:$|[-_.:@])")


def is_reasoning(model: str) -> bool:
    """Whether a name is that of a model which thinks first.

    That is one of OpenAI's o1, o3, o4 and GPT-5 (its chat models excepted), Gemini from 2.5 on
    (Flash-Lite excepted), or a name with a word such as ``Thinking`` or ``Reasoner``.
    """
    name = model.rpartition("/")[2].lower()
    return bool(_OPENAI.match(name) or _GEMINI.match(name) or _WORDS.search(name))
