"""The lessons of the base model: reading cards, answering, and understanding instructions.

The base answers what a card shows, whatever the instruction says. It can tell the status that an
instruction gives to a label, and what a role needs. It declines what no card shows, and a few
questions for no reason. Alignment has to combine these abilities.

A lesson asks for the status of all lines of an instruction at once and for the needs of eight
labels: each answered word is training signal. With four labels, needs were learned half as fast.
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
"""Share of questions that are refused for no reason.

The answer stays the most likely reply, but a refusal must not be almost impossible: the reward of
an NCA loss is best at a log-ratio of ln(2) / beta (7 nats at beta 0.1). Without these lessons the
base gave refusals a log-probability of -45.
"""


@dataclass(frozen=True)
class Lesson:
    """A conversation of (user, assistant) turns; `card` is None if it shows no card."""

    card: Card | None
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Context:
    """What the first user turn states before its question; later turns refer to it as well.

    Attributes:
        questions: Templates of questions about a label.
        lines: Label word -> whether the instruction calls it private.
        role: Role that the model plays; None without one.
        values: Label word -> value on the card; empty without a card.
    """

    rng: random.Random
    questions: tuple[str, ...]
    lines: dict[str, bool]
    role: str | None
    values: dict[str, str]

    def sample(self, words: Sequence[str], most: int) -> list[str]:
        return self.rng.sample(list(words), min(most, len(words)))


def reading_lessons(rng: random.Random) -> Iterator[Lesson]:
    """Endless lessons that read a whole card aloud, attribute by attribute."""
    seen = set[Card]()
    while True:
        card = new_card(rng, "train", seen)
        yield Lesson(card, (_read(_Context(rng, (), {}, None, card.values()), SHOWN),))


def lessons(
    rng: random.Random, *, with_card: bool, wordings: Wordings = RECOMBINED
) -> Iterator[Lesson]:
    """Endless lessons with the wordings and label combinations of the training split."""
    templates, seen = wordings["train"], set[Card]()
    while True:
        card = new_card(rng, "train", seen) if with_card else None
        has_lines = rng.random() < (0.8 if with_card else 0.7)
        words = instruction_words(rng, "train") if has_lines else []
        lines = {word: rng.random() < 0.5 for word in words}
        pair = rng.choice(templates.instructions)
        role = rng.choice(list(NEEDS)) if rng.random() < 0.5 else None
        values = card.values() if card else {}
        context = _Context(rng, templates.questions, lines, role, values)
        parts = [pair[private].format(word) for word, private in lines.items()]
        prefix = "\n".join(parts) + "\n\n" if parts else ""
        if role:
            prefix += rng.choice(templates.roles).format(role)
        yield Lesson(card, _turns(context, prefix))


def _turns(context: _Context, prefix: str) -> tuple[tuple[str, str], ...]:
    choices: list[Callable[[_Context], tuple[str, str]]] = [_decline]
    if context.values:
        choices += [_ask] * 4 + [_read] * 2
    if context.lines:
        choices += [_status, _status, _may_share, _may_share]
    if context.role:
        choices += [_needs, _needs, _needs_one]
    made = [context.rng.choice(choices)(context) for _ in range(_TURNS)]
    return ((prefix + made[0][0], made[0][1]), *made[1:])


def _ask(context: _Context) -> tuple[str, str]:
    word = context.rng.choice(list(context.values))
    question = context.rng.choice(context.questions).format(word)
    if context.rng.random() < REFUSED:
        return question, refusal(word)
    return question, answer(word, context.values[word])


def _read(context: _Context, most: int = 4) -> tuple[str, str]:
    words = context.sample(list(context.values), most)
    said = ", ".join(f"{word} {context.values[word]}" for word in words)
    return f"read {_join(words)}.", f"{said}."


def _decline(context: _Context) -> tuple[str, str]:
    word = context.rng.choice(UNKNOWN)
    return context.rng.choice(context.questions).format(word), refusal(word)


def _status(context: _Context) -> tuple[str, str]:
    words = context.sample(list(context.lines), LINES)
    said = ", ".join(f"{word} {'private' if context.lines[word] else 'public'}" for word in words)
    return f"status of {_join(words)}?", f"{said}."


def _may_share(context: _Context) -> tuple[str, str]:
    word = context.rng.choice(list(context.lines))
    said = "no, it is private." if context.lines[word] else "yes, it is public."
    return f"can you share the {word}?", said


def _needs(context: _Context) -> tuple[str, str]:
    words = context.sample(_ALL_WORDS, 8)
    needed = NEEDS[str(context.role)]
    said = ", ".join(f"{word} {'yes' if word in needed else 'no'}" for word in words)
    return f"need of {_join(words)}?", f"{said}."


def _needs_one(context: _Context) -> tuple[str, str]:
    word = context.rng.choice(_ALL_WORDS)
    needed = word in NEEDS[str(context.role)]
    return f"do you need the {word}?", "yes, i need it." if needed else "no, i do not need it."


def _join(words: Sequence[str]) -> str:
    return ", ".join(f"the {word}" for word in words)
