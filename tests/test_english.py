"""Our texts are plain technical English: phrases that were found hard to read stay out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

UNITS = (
    "answer|conversation|entry|estimate|figure|line|object|record|row|sequence|test|unit|verdict"
)
BANNED = {
    r"(?<![Tt]here )\b(is|are) no (?!longer\b|more\b|less\b)": "is not a",
    r"\b[Mm]end(s|ed|ing)?\b": "fix",
    r"\b(Not|be|is|are|was|were) had\b": "is available, is supported",
    r"\bstands? there twice\b": "duplicate",
    r"\b([Gg]o|goes|[Gg]oing|gone|went) on (after|from|there|where|with)\b": "resume, continue",
    r"\bTo go on\b|; going on\b": "resume, continue",
    r"\bloses nothing\b": "append-only, resumable",
    r'"""Of [a-z]|: Of (a|the|each) ': "a full sentence",
    r"\bof the size\.": "a full sentence",
    r"\bso many times\b": "times",
    r"\bat hand\b": "available",
    r"\banew\b": "again",
    rf"\b({UNITS}) a (command|file|group|line|method|panel|picture|row|sample|step)\b": "per",
}
"""Phrase -> what to write instead (see the glossary and the pages for the words we use)."""

OTHER_WORDS = {
    "spy_plugin/embedded/lab/natural.py": "sentences that a model is trained on",
    "spy_plugin/embedded/mini/data/pictures_screens.yaml": "texts on pictures",
    "spy_plugin/judging/phrases.yaml": "sentences that a judge is trained on",
    "spy_plugin/judging/rules.py": "patterns of what models say",
    "tests/test_english.py": "this list",
}
"""Files that hold the words of others."""


def texts() -> Iterator[Path]:
    """Yield every file of ours that holds text."""
    yield from ROOT.glob("*.md")
    yield from ROOT.glob("*.py")
    for folder in ("benchmarks", "docs", "registry", "spy_plugin", "tests", "trl_ext"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".j2", ".yaml", ".css") and path.is_file():
                yield path


FILES = {str(path.relative_to(ROOT)): path for path in texts()}


def hits(path: Path) -> list[str]:
    """Return each banned phrase of a file with its line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for pattern, better in BANNED.items():
            if match := re.search(pattern, line):
                found.append(f"{number}: {match[0]!r}, better: {better}")
    return found


def test_our_texts_avoid_phrases_that_are_hard_to_read() -> None:
    wrong = {
        name: found
        for name, path in FILES.items()
        if name not in OTHER_WORDS and (found := hits(path))
    }
    listed = "\n".join(f"{name}:{text}" for name, found in wrong.items() for text in found)
    assert not wrong, f"\n{listed}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("x is no address", True),
        ("there is no address", False),
        ("it is no longer used", False),
        ("one verdict a line", True),
        ("one verdict per line", False),
        ("Mend it.", True),
        ("a file that can be gone on with", True),
        ("read on", False),
        ('    """Of a run."""', True),
    ],
)
def test_the_phrases_are_found(text: str, wrong: bool, tmp_path: Path) -> None:
    (tmp_path / "t.md").write_text(text)
    assert bool(hits(tmp_path / "t.md")) is wrong
