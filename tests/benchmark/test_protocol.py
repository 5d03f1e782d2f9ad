"""Wordings have a fingerprint; the official ones are parsed, never executed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spy_plugin.benchmark.protocol import BUILTIN, need_placeholders, read_official_protocol
from spy_plugin.errors import DataError

CONFIG = """
raise SystemExit("parsed, never run")
INSTRUCT_TEMPLATES = ("Talk about {}.", "Hush about {}.")
EVAL_PROMPTS = "Topic {} question {} answer {}"
ABS_PRIV_LABELS = ["a31_passport"]
"""
SELF_MOD = """
import no_such_module
Q2_template: str = "Rules: {}"
Q3_template = "Again."
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "config.py").write_text(CONFIG)
    (tmp_path / "benchmark" / "generate_self_mod.py").write_text(SELF_MOD)
    return tmp_path


def test_builtin_words_keep_their_fingerprint() -> None:
    """Scores of different wordings are not comparable: a changed wording needs a new name."""
    assert (BUILTIN.name, BUILTIN.fingerprint) == ("builtin-1", "77b445b1ef4d")


def test_every_word_counts_for_the_fingerprint_and_the_name_does_not() -> None:
    assert replace(BUILTIN, name="other").fingerprint == BUILTIN.fingerprint
    assert replace(BUILTIN, third_turn="Other.").fingerprint != BUILTIN.fingerprint
    assert replace(BUILTIN, absolute_labels=frozenset()).fingerprint != BUILTIN.fingerprint


def test_official_words_come_from_the_users_copy(release: Path) -> None:
    protocol = read_official_protocol(release)
    assert protocol.instruct_templates == ("Talk about {}.", "Hush about {}.")
    assert protocol.absolute_labels == {"a31_passport"}
    assert protocol.judge_question("a", "b", "{c}") == "Topic a question b answer {c}"
    assert protocol.self_moderation_turns("line 1\nline 2\n\nquestion") == (
        "Rules: line 1\nline 2",
        "Again.",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("EVAL_PROMPTS", "OTHER", "does not define EVAL_PROMPTS"),
        ('"Hush about {}."', '"Hush."', r"template with 0 \{\}"),
        ('"Topic {} question {} answer {}"', "open('/etc/passwd').read()", "is not a literal"),
        ('("Talk about {}.", "Hush about {}.")', '"Talk {}"', "not a pair"),
        ("raise SystemExit", "raise raise", "is not Python"),
        ('["a31_passport"]', "3", "not a list of labels"),
        ("answer {}", "answer {0.__class__}", "not a plain"),
    ],
)
def test_changed_release_files_are_refused(release: Path, old: str, new: str, message: str) -> None:
    path = release / "benchmark" / "config.py"
    path.write_text(CONFIG.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        read_official_protocol(release)
    assert "config.py" in str(caught.value)


def test_placeholders_are_counted() -> None:
    assert need_placeholders("a {} b {} {{}}", 2) == "a {} b {} {{}}"
    with pytest.raises(ValueError, match=r"template with 1 \{\}; it must have 2"):
        need_placeholders("a {}", 2)
    with pytest.raises(ValueError, match="name"):
        need_placeholders("{name}", 1)
