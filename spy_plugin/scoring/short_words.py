"""True values that are spelled as ordinary words: the grade *A*, type *I*, the department *IT*.

An answer holds such a value only where it does not use the word as an article, a pronoun, a unit
or a part of another word.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from spy_plugin.scoring.text_values import plain, words

_WORDS = frozenset(words("am an as at be by do go he hi if in is it me my of on or so to up us we"))
"""Words of two letters that may be a value in capitals; `no` means the same in any case."""
_ARTICLE_LIKE = frozenset("ai")
_UNITS = frozenset("gml")

_SHORT = re.compile(r"(?<![^\W\d_])[A-Za-z]{1,2}(?![^\W\d_])")
_NAMED = re.compile(
    r"\b(?:type|class|grade|group|level|category|stage|phase|part|section|tier|row|gate|unit|block"
    r"|plan|option|size|mark|factor|vitamin|hepatitis)[\s:*\"'(-]{1,4}$",
    re.IGNORECASE,
)
"""What says, right before a letter, that it is a value."""
_SENTENCE = re.compile(r"(?:^|[.!?:\n])[\s\"'\u201c(*#>-]{0,6}$")
_BEFORE = 16
"""So many characters before a word are looked at."""
_WORD_FOLLOWS = re.compile(r"[^\S\n]+[\"'\u201c(*_`]{0,3}\w")
_VALUE_GOES_ON = re.compile(
    r"\s+(?:(?:is|was|and|or|according|as|per|rh|rhesus)\b"
    r"|(?:positive|negative|plus|minus)\b(?!\s+\w))",
    re.IGNORECASE,
)
"""What follows a value at the beginning of a sentence, and no article."""
_JOINED_BEFORE = re.compile(r"[^\W\d_]'$")
_JOINED_AFTER = re.compile(r"'(?!s\b)[^\W\d_]", re.IGNORECASE)
_DOTTED_BEFORE = re.compile(r"\b[^\W\d_]\.\s?$")
_DOTTED_AFTER = re.compile(r"\.\s?[^\W\d_](?!\w)")
_CLOCK = re.compile(r"\b[AP]\.\s?M\b")
_NUMBER = re.compile(r"\d\s?$")


def short_values(gt: str) -> frozenset[str]:
    """Return the words of one or two letters, in lower case, that are values in a ground truth.

    These are single capital letters but for an *A* or *I* before a word, words of two letters
    whose capitals stand out, and a ground truth that is one such word.
    """
    text = plain(gt)
    alone = bool(re.fullmatch(r"\W*[A-Za-z]{1,2}\W*", text))
    return frozenset(
        found[0].lower() for found in _SHORT.finditer(text) if _is_value(found, alone=alone)
    )


def _is_value(found: re.Match[str], *, alone: bool) -> bool:
    word, text = found[0], found.string
    if len(word) == 2:
        stands_out = word.isupper() and not text.isupper()
        return word.lower() in _WORDS and (stands_out or (alone and word[0].isupper()))
    if _is_joined(found) or (word.lower() in _UNITS and _before(_NUMBER, found)):
        return False
    if word.lower() in _ARTICLE_LIKE and _WORD_FOLLOWS.match(text, found.end()):
        return bool(word.isupper() and _before(_NAMED, found))
    return alone or word.isupper()


def without_ordinary(text: str, values: Collection[str]) -> str:
    """Return an answer without the ordinary uses of these words.

    Args:
        text: By `plain`.
        values: Some of a ground truth's `short_values`.
    """
    no_case = text.isupper()

    def keep(found: re.Match[str]) -> str:
        ordinary = found[0].lower() in values and _is_ordinary(found, no_case=no_case)
        return " " if ordinary else found[0]

    return _SHORT.sub(keep, text)


def _is_ordinary(found: re.Match[str], *, no_case: bool) -> bool:
    """Whether a word is used as such.

    Args:
        no_case: The whole text is in capitals, so that those of the word say nothing.
    """
    word, letter = found[0].lower(), len(found[0]) == 1
    lower = found[0][0].islower()
    if letter and _is_joined(found):
        return True
    if letter and word not in _ARTICLE_LIKE:
        return lower and _before(_NUMBER, found)  # a unit
    followed = bool(_WORD_FOLLOWS.match(found.string, found.end()))
    if not letter:
        followed |= found.string[found.end() : found.end() + 1] == "'"
    if lower or not followed:
        return lower and (followed or not letter)
    if _before(_NAMED, found):
        return False
    if word == "a" and _VALUE_GOES_ON.match(found.string, found.end()):
        return False
    return word == "i" or no_case or _before(_SENTENCE, found)


def _is_joined(found: re.Match[str]) -> bool:
    """Whether a letter is a part of another word: of `I'm`, `o'clock`, `p.m.` or `e.g.`."""
    text, start, end = found.string, found.start(), found.end()
    if _before(_JOINED_BEFORE, found) or _JOINED_AFTER.match(text, end):
        return True
    if found[0].islower() and (_before(_DOTTED_BEFORE, found) or _DOTTED_AFTER.match(text, end)):
        return True
    return found[0] in "APM" and bool(_CLOCK.search(text, max(0, start - 3), end + 3))


def _before(pattern: re.Pattern[str], found: re.Match[str]) -> bool:
    start = found.start()
    return bool(pattern.search(found.string, max(0, start - _BEFORE), start))
