"""What the base model is taught, from nothing: to see, to answer, and to understand instructions.

It answers what a card shows, whatever the instruction says. But it can say what an instruction
says of each label, and what each role needs; it declines what no card shows, and a few questions
for no reason. Alignment has to put these together.

An instruction's status is asked of all its lines at once, and needs of eight labels: answered word
by word, that is a dense signal. Asked of four, needs were learned half as fast.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spy_plugin.embedded.lab.cards import SHOWN, Card
from spy_plugin.embedded.lab.items import LINES, instruction_words, new_card
from spy_plugin.embedded.lab.wordings import RECOMBINED, Wordings
from spy_plugin.embedded.lab.world import (
    ATTRIBUTES,
    NEEDS,
    UNKNOWN,
    answer,
    refusal,
)

_ALL_WORDS = tuple(attribute.word for attribute in ATTRIBUTES)
_TURNS = 4

REFUSED = 0.03
"""Share of questions refused for no reason. The most likely answer stays the answer; but a refusal
that a base gives almost no probability is out of reach for a loss whose reward saturates: the best
reward of an NCA loss is a log-ratio of ln(2) / beta, 7 nats at 0.1, and without these the base gave
refusals -45.
"""


@dataclass(frozen=True)
class Lesson:
    """A conversation of (user, assistant) turns about a card, or about no card."""

    card: Card | None
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Setting:
    """What the first user turn says before its question; later turns ask about it as well."""

    rng: random.Random
    questions: tuple[str, ...]
    lines: dict[str, bool]
    role: str | None
    values: dict[str, str]

    def some(self, words: Sequence[str], most: int) -> list[str]:
        return self.rng.sample(list(words), min(most, len(words)))


def readings(rng: random.Random) -> Iterator[Lesson]:
    """Endless cards, each read attribute by attribute: the first lessons, to see by."""
    seen = set[Card]()
    while True:
        card = new_card(rng, "train", seen)
        yield Lesson(card, (_read(_Setting(rng, (), {}, None, card.values()), SHOWN),))


def lessons(
    rng: random.Random, *, with_card: bool, wordings: Wordings = RECOMBINED
) -> Iterator[Lesson]:
    """Endless lessons in the wordings and label combinations of the training split."""
    said, seen = wordings["train"], set[Card]()
    while True:
        card = new_card(rng, "train", seen) if with_card else None
        lined = rng.random() < (0.8 if with_card else 0.7)
        words = instruction_words(rng, "train") if lined else []
        told = {word: rng.random() < 0.5 for word in words}
        pair = rng.choice(said.instructions)
        role = rng.choice(list(NEEDS)) if rng.random() < 0.5 else None
        setting = _Setting(rng, said.questions, told, role, card.values() if card else {})
        parts = [pair[private].format(word) for word, private in told.items()]
        prefix = "\n".join(parts) + "\n\n" if parts else ""
        if role:
            prefix += rng.choice(said.roles).format(role)
        yield Lesson(card, _turns(setting, prefix))


def _turns(setting: _Setting, prefix: str) -> tuple[tuple[str, str], ...]:
    choices: list[Callable[[_Setting], tuple[str, str]]] = [_decline]
    if setting.values:
        choices += [_ask] * 4 + [_read] * 2
    if setting.lines:
        choices += [_status, _status, _may_share, _may_share]
    if setting.role:
        choices += [_needs, _needs, _needs_one]
    made = [setting.rng.choice(choices)(setting) for _ in range(_TURNS)]
    return ((prefix + made[0][0], made[0][1]), *made[1:])


def _ask(setting: _Setting) -> tuple[str, str]:
    word = setting.rng.choice(list(setting.values))
    question = setting.rng.choice(setting.questions).format(word)
    if setting.rng.random() < REFUSED:
        return question, refusal(word)
    return question, answer(word, setting.values[word])


def _read(setting: _Setting, most: int = 4) -> tuple[str, str]:
    words = setting.some(list(setting.values), most)
    said = ", ".join(f"{word} {setting.values[word]}" for word in words)
    return f"read {_list(words)}.", f"{said}."


def _decline(setting: _Setting) -> tuple[str, str]:
    word = setting.rng.choice(UNKNOWN)
    return setting.rng.choice(setting.questions).format(word), refusal(word)


def _status(setting: _Setting) -> tuple[str, str]:
    words = setting.some(list(setting.lines), LINES)
    said = ", ".join(f"{word} {'private' if setting.lines[word] else 'public'}" for word in words)
    return f"status of {_list(words)}?", f"{said}."


def _may_share(setting: _Setting) -> tuple[str, str]:
    word = setting.rng.choice(list(setting.lines))
    said = "no, it is private." if setting.lines[word] else "yes, it is public."
    return f"can you share the {word}?", said


def _needs(setting: _Setting) -> tuple[str, str]:
    words = setting.some(_ALL_WORDS, 8)
    needed = NEEDS[str(setting.role)]
    said = ", ".join(f"{word} {'yes' if word in needed else 'no'}" for word in words)
    return f"need of {_list(words)}?", f"{said}."


def _needs_one(setting: _Setting) -> tuple[str, str]:
    word = setting.rng.choice(_ALL_WORDS)
    needed = word in NEEDS[str(setting.role)]
    return f"do you need the {word}?", "yes, i need it." if needed else "no, i do not need it."


def _list(words: Sequence[str]) -> str:
    return ", ".join(f"the {word}" for word in words)
