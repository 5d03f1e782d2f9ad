"""Text -> values that can be compared: tokens, dates and times, whatever their spelling.

Letters and digits are told apart, so ``VR4401`` is the two tokens ``vr`` and ``4401``. Number words
become digits, and words lose a common ending.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

Date = tuple[int | None, int, int]
"""Year (None if it is not told; below 100 if two digits are), month, day."""


def words(text: str) -> list[str]:
    """Return the words of a list that is written as one text."""
    return text.split()


_SMALL = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
_ORDINALS = words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_NUMBER = {word: n for n, word in enumerate(_SMALL)}
_NUMBER |= {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_ORDINAL = {word: n for n, word in enumerate(_ORDINALS, 1)} | {"thirtieth": 30}
_NUMBER_WORDS = re.compile(
    rf"\b(?:({'|'.join(_TENS)})(?:[\s-]+({'|'.join(_SMALL[1:10] + _ORDINALS[:9])}))?"
    rf"|({'|'.join([*_SMALL, *_ORDINAL])}))\b"
)
_NUMBER_PARTS = words(
    "one two three four five six seven eigh nin zero ten elev twel twen thi fort fif fir seco"
)
"""Each number word holds one of these."""
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")

_MONTHS = words(
    "jan(?:uary)? feb(?:ruary)? mar(?:ch)? apr(?:il)? may june? july? aug(?:ust)? sept?(?:ember)? "
    "oct(?:ober)? nov(?:ember)? dec(?:ember)?"
)
_MONTH = {name[:3]: n for n, name in enumerate(_MONTHS, 1)}
_NAME = rf"(?P<name>{'|'.join(_MONTHS)})\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?[\s-]*(?P<year>\d{4}|\d{2} \d{2}|'?\d{2})(?![\w:]))?"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?!\d)",
        r"(?<!\d)(?P<day>\d{1,2})([-/.])(?P<month>\d{1,2})\2(?P<year>\d{4}|\d{2})(?!\d)",
        rf"(?<!\d){_DAY}[\s.-]*(?:of\s+)?{_NAME}{_YEAR}",
        rf"\b{_NAME}\s*(?:the\s+)?{_DAY}(?!\w){_YEAR}",
    )
)
_TIME = re.compile(
    r"(?<![\d.:,])(\d{1,2})([:.])(\d{2})(?!\d|[.,:]\d)(?:\s*([ap])\.?\s?m\b|([ap])\b)?"
)
_DASH = "[-\N{MINUS SIGN}\N{EN DASH}]"
_NUMBER_AFTER = r"(\d+(?:[.,]\d+)*)(?![-/:]?\d|st\b|nd\b|rd\b|th\b)"
_NEGATIVE = re.compile(rf"(?<![\w.,-])(?<!\d\s){_DASH}{_NUMBER_AFTER}")
_NEGATIVE_WORDS = re.compile(rf"\b(?<!\d\s)(?:minus|negative)\s+{_NUMBER_AFTER}")
_LETTER = r"(?<![\w'+-])(ab|[a-z0])"
_RHESUS = r"[\s,(-]*rh(?:d|esus)?\b[\s.-]*(?:(?:factor|d)\b[\s-]*)?"
_SIGN = rf"(\+|{_DASH})(?![\w+-])"
_NOT_A_NOUN = r"(?!\s+(?!(?:according|and|as|blood|group|in|on|per|rh|rhesus|type)\b)[^\W\d])"
_GROUP = re.compile(rf"{_LETTER}(?:{_RHESUS})?{_SIGN}")
_GROUP_WORDS = re.compile(
    rf"{_LETTER}(?:{_RHESUS}|[\s,:(-]*)(pos|neg|plus|minus)(?:itive|ative)?\b{_NOT_A_NOUN}"
)
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"\d+(?:st|nd|rd|th)\b|\d+|[^\W\d_]+")
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e)$")


def plain(text: str) -> str:
    """Return text without accents and typographic apostrophes (Unicode NFKD)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        text = "".join(c for c in text if not unicodedata.combining(c))
    return text


def fold(text: str) -> str:
    """Return text as `plain` does, and in lower case (Unicode case folding)."""
    return plain(text).casefold()


def with_digits(text: str) -> str:
    """Return a folded text with number words as digits, and without thousands separators.

    ``twenty-one`` becomes ``21``, ``third`` becomes ``3th`` and ``1,250`` becomes ``1250``.
    """
    if any(part in text for part in _NUMBER_PARTS):
        text = _NUMBER_WORDS.sub(_digits, text)
    return _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)


def _digits(found: re.Match[str]) -> str:
    tens, unit, word = found.groups()
    if word:
        return str(_NUMBER[word]) if word in _NUMBER else f"{_ORDINAL[word]}th"
    if unit in _ORDINAL:
        return f"{_NUMBER[tens] + _ORDINAL[unit]}th"
    return str(_NUMBER[tens] + _NUMBER.get(unit, 0))


def may_have_number(text: str) -> bool:
    """Return False for a folded text that has neither digits nor number words; fast."""
    return bool(_DIGIT.search(text)) or any(part in text for part in _NUMBER_PARTS)


def take_dates(text: str) -> tuple[list[frozenset[Date]], str]:
    """Return the dates of a folded text, each in every way to read it, and the rest of the text."""
    found: list[frozenset[Date]] = []

    def take(match: re.Match[str]) -> str:
        ways = _ways(match)
        if not ways:
            return match[0]
        found.append(ways)
        return " ; "

    for pattern in _DATES:
        text = pattern.sub(take, text)
    return found, text


def _ways(match: re.Match[str]) -> frozenset[Date]:
    """Return the valid ways to read a date; 3/4/1988 has two."""
    told = match["year"]
    year = int(told.replace(" ", "").lstrip("'")) if told else None
    parts = match.groupdict()
    day = int(parts["day"])
    if "name" in parts:
        ways: list[Date] = [(year, _MONTH[parts["name"][:3]], day)]
    else:
        month = int(parts["month"])
        ways = [(year, month, day)]
        if match.re is _DATES[1]:
            ways.append((year, day, month))
    return frozenset(way for way in ways if 1 <= way[1] <= 12 and 1 <= way[2] <= 31)


def same_date(one: frozenset[Date], other: frozenset[Date]) -> bool:
    """Whether a date can be another; the year counts only if `one` has it."""
    return any(a[1:] == b[1:] and _same_year(a[0], b[0]) for a in one for b in other)


def _same_year(one: int | None, other: int | None) -> bool:
    if one is None or one == other:
        return True
    return other is not None and min(one, other) < 100 and one % 100 == other % 100


def take_times(text: str, *, marks: str = ":.") -> tuple[list[int], str]:
    """Return the times of a folded text in minutes since midnight, and the rest of the text.

    Args:
        marks: What may stand between hours and minutes.
    """
    found: list[int] = []

    def take(match: re.Match[str]) -> str:
        hour, minute, half = int(match[1]), int(match[3]), match[4] or match[5]
        if match[2] not in marks or hour > 24 or minute > 59:
            return match[0]
        if half:
            hour = hour % 12 + (12 if half == "p" else 0)
        found.append(60 * hour + minute)
        return " ; "

    return found, _TIME.sub(take, text)


def take_signed(text: str, *, in_words: bool = True) -> tuple[list[str], str]:
    """Return the values of a folded text that have a sign, and the rest of the text.

    These are negative numbers (``-5``), and single letters with a plus or a minus, as in blood
    groups and marks (``o-``, ``b+``). The plus of a number and a dash between numbers are left
    alone.

    Args:
        in_words: Take ``minus 5`` and ``O Rh negative``, too.
    """
    found: list[str] = []

    def number(match: re.Match[str]) -> str:
        found.append("-" + match[1].replace(",", "."))
        return " ; "

    def group(match: re.Match[str]) -> str:
        sign = "+" if match[2][0] in "+p" else "-"
        found.append(match[1].replace("0", "o") + sign)
        return " ; "

    text = _GROUP.sub(group, _NEGATIVE.sub(number, text))
    if in_words:
        text = _GROUP_WORDS.sub(group, _NEGATIVE_WORDS.sub(number, text))
    return found, text


def tokens_of(text: str) -> list[str]:
    """Return the tokens of a folded text: runs of digits, of letters, and ordinals."""
    return _TOKEN.findall(text)


@lru_cache(maxsize=20_000)
def stem(token: str) -> str:
    """Return a word without a common ending: ``moving`` and ``move`` are both ``mov``."""
    return _ENDING.sub("", token)
