"""Which engine has which pictures: a queue that gets back what a dead engine left.

It knows nothing of Ray; the driver runs it as an actor on its own node, which has the pictures.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from spy_plugin.data.pictures import PictureBytes
from spy_plugin.models.base import Conversation

_TEXTS = 32
"""How many conversations without a picture are handed out together."""


@dataclass(frozen=True)
class Group:
    """Conversations that one engine is given together: all that show one picture.

    Attributes:
        number: Identifies the group, also after some of its conversations were answered.
    """

    number: int
    conversations: tuple[Conversation, ...]

    def of(self, keys: Collection[str]) -> Group:
        """Return the group with these conversations alone."""
        chosen = tuple(each for each in self.conversations if each.key in keys)
        return replace(self, conversations=chosen)


def grouped(conversations: Iterable[Conversation], first: int = 0) -> Iterator[Group]:
    """Yield consecutive conversations of one picture together, and others by the dozen.

    Args:
        first: Number of the first group.
    """
    number = first
    for image, run in groupby(conversations, key=lambda each: each.image):
        together = list(run)
        size = _TEXTS if image is None else len(together)
        for start in range(0, len(together), size):
            yield Group(number, tuple(together[start : start + size]))
            number += 1


class WorkQueue:
    """Hands out groups, and takes back what an engine has not answered.

    An engine takes group after group while there is room in it, until it holds its part of all
    that is not answered. So it never pauses while much waits, and one that loads slowly finds work.
    What it took until then is a round: all of it is answered before the next one begins.

    A group that was in hand when an engine died twice, or alone when one died, is a suspect: it is
    handed out alone. If an engine dies again with nothing else in hand, the group has failed.
    """

    def __init__(self) -> None:
        self._waiting: deque[Group] = deque()
        self._in_hand: dict[int, list[Group]] = {}
        self._open: dict[int, int] = {}
        self._deaths: Counter[int] = Counter()
        self._suspects: set[int] = set()
        self._engines = 1

    def add(self, groups: Iterable[Group]) -> None:
        """Queue groups."""
        self._waiting.extend(groups)

    def expect(self, engines: int) -> int:
        """Note how many engines share the work; returns how many groups wait."""
        self._engines = max(1, engines)
        return len(self._waiting)

    def begin(self, engine: int) -> bool:
        """Begin an engine's next round, all before it being answered; False if nothing waits."""
        self._in_hand[engine] = []
        self._open[engine] = 0
        return bool(self._waiting)

    def take(self, engine: int, answered: int) -> tuple[Conversation, ...] | None:
        """Hand out the next group with the picture's bytes; None at the end of the round.

        Args:
            answered: How many conversations the engine has answered in this round.
        """
        in_hand = self._in_hand[engine]
        self._open[engine] = sum(len(group.conversations) for group in in_hand) - answered
        waiting = sum(len(group.conversations) for group in self._waiting)
        part = (waiting + sum(self._open.values())) / self._engines
        if not waiting or self._open[engine] >= part:
            return None
        alone = {group.number for group in (self._waiting[0], *in_hand[-1:])} & self._suspects
        if alone and in_hand:
            return None
        group = self._waiting.popleft()
        in_hand.append(group)
        self._open[engine] += len(group.conversations)
        return _with_bytes(group.conversations)

    def give_back(
        self, engine: int, open_keys: Collection[str], *, blame: bool = True
    ) -> list[str]:
        """Queue again what an engine left when it died.

        Args:
            open_keys: Conversations that are not answered yet.
            blame: Whether what it had in hand may be why; not if its node went away.

        Returns:
            The keys of a group that has killed engines alone, which is not queued again.
        """
        self._open.pop(engine, None)
        left = [group.of(open_keys) for group in self._in_hand.pop(engine, ())]
        left = [group for group in left if group.conversations]
        if not blame:
            self._waiting.extendleft(reversed(left))
            return []
        again = {group.number for group in left if self._deaths[group.number]}
        self._deaths.update(group.number for group in left)
        if len(left) == 1:
            if again:
                return [each.key for each in left[0].conversations]
            again = {left[0].number}
        # Suspects come last, and the first of them at the very end: others are answered before.
        self._suspects |= again
        self._waiting.extendleft(group for group in reversed(left) if group.number not in again)
        self._waiting.extend(group for group in reversed(left) if group.number in again)
        return []


def _with_bytes(conversations: tuple[Conversation, ...]) -> tuple[Conversation, ...]:
    """The conversations with the bytes of their picture, since nodes need not share a disk.

    A file that cannot be read stays a name: the engine says then why it does not open.
    """
    image = conversations[0].image
    if image is None or isinstance(image, PictureBytes):
        return conversations
    try:
        held = PictureBytes(str(image), image.read_bytes())
    except OSError:
        return conversations
    return tuple(replace(each, image=held) for each in conversations)
