"""The engines of a run: they are started, listened to, replaced when they die, and ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from ray.util import remove_placement_group

from spy_plugin.files.text import one_line
from spy_plugin.files.writing import Closing
from spy_plugin.models.base import Model, ModelSetupError, Reply
from spy_plugin.models.on_ray.cluster import EngineSize, capacity, on_node, options_of
from spy_plugin.models.on_ray.work import Group, WorkQueue
from spy_plugin.models.on_ray.worker import Broken, Event, Loaded, Started, Worker, last_words

logger = logging.getLogger(__name__)

_WORDS_SECONDS = 10.0
"""How long a dead engine's node is given to show the engine's last words."""


@dataclass
class Engine:
    """An engine, from the request for it on.

    Attributes:
        number: Its name in the queue and in messages.
        group: Its placement group, if it has one.
        first: It was asked for before any engine had loaded, so it will have loaded soon after.
        node, logs: Where it runs and where its messages go; empty until it has room.
        loaded: The model is loaded.
    """

    number: int
    actor: Any
    group: Any
    first: bool
    node: str = ""
    logs: tuple[str, ...] = ()
    loaded: bool = False


@dataclass(frozen=True)
class Death:
    """What an engine's death left behind.

    Attributes:
        failed: Conversations of a picture that has killed engines twice.
        reason: In one line.
        left: Its node, if that has left the cluster.
    """

    failed: list[str]
    reason: str
    left: str = ""


class Fleet(Closing):
    """Engines of one model, and the queue that they pull from.

    Args:
        model: Not loaded; each engine gets a copy.
        size: What one engine takes.
        wanted: How many engines; None for as many as find room, now and later.

    Attributes:
        lost: How many engines have died.
        served: An engine has loaded the model, so that the model can be loaded.
    """

    def __init__(self, model: Model, size: EngineSize, wanted: int | None) -> None:
        self._model, self._size, self._wanted = ray.put(model), size, wanted
        self._streams: dict[Any, Engine] = {}
        self._idle: list[Engine] = []
        self._numbers = count(1)
        self._limit, self._expected = 0, 1
        self._loading_since = time.monotonic()
        self.lost, self.served = 0, False
        here = on_node(ray.get_runtime_context().get_node_id())
        kind = ray.remote(WorkQueue).options(num_cpus=0, scheduling_strategy=here)
        self._queue: Any = kind.remote()

    @property
    def loaded(self) -> int:
        """How many engines are at work."""
        return sum(engine.loaded for engine in self._engines())

    def readiness(self) -> str:
        """How many engines are at work and, while others load, of how many and for how long.

        An engine without room is not counted beside others: its node may never join.
        """
        loaded, goal = self.loaded, self._placed()
        if not loaded:
            goal = max(goal, self._expected)
        if loaded == goal:
            return str(loaded)
        return f"{loaded} of {goal} ready ({time.monotonic() - self._loading_since:.0f} s)"

    def start(self, groups: list[Group]) -> None:
        """Queue groups, and start the engines for them."""
        self._limit = len(groups)
        free = 0 if self._wanted else capacity(self._size, free=True)
        self._expected = self._wanted or max(1, self._placed() + free)
        ray.get(self._queue.add.remote(groups))
        self._fill()

    def next(self, open_keys: Collection[str], seconds: float = 1.0) -> Reply | Death | None:
        """Wait for what an engine has to say; None for nothing that concerns a conversation.

        Args:
            open_keys: Conversations without a reply; a dead engine's go to others.

        Raises:
            ModelSetupError: the first engine cannot load the model.
        """
        ready, _ = ray.wait(list(self._streams), timeout=seconds)
        if not ready:
            return None
        stream: Any = ready[0]
        engine = self._streams[stream]
        try:
            event: Event = ray.get(next(stream))
        except StopIteration:
            del self._streams[stream]
            self._idle.append(engine)
            self._fill()
            return None
        except RayTaskError as error:
            event = Broken(f"{type(error.cause).__name__}: {error.cause}")
        except RayError as error:
            words = _last_words(engine)
            reason = f"{_reason(error)}; its last words: {words}" if words else _reason(error)
            return self._buried(stream, reason, open_keys)
        if isinstance(event, Reply):
            return event
        if isinstance(event, Broken):
            if not engine.loaded and not self.served:
                raise ModelSetupError(event.error)
            return self._buried(stream, event.error, open_keys)
        if isinstance(event, Started):
            if 0 < self.loaded == self._placed():  # no other is loading
                self._loading_since = time.monotonic()
            engine.node, engine.logs = event.node, event.logs
            self._fill()
        elif isinstance(event, Loaded):
            engine.loaded = self.served = True
            self._queue.expect.remote(self._sharing())
        return None

    def close(self) -> None:
        """End every engine and drop the work."""
        for engine in self._engines():
            self._end(engine)
        self._streams.clear()
        self._idle.clear()
        ray.kill(self._queue)

    def _buried(self, stream: Any, reason: str, open_keys: Collection[str]) -> Death:
        """Give a dead engine's work to others, and start another in its place."""
        engine = self._streams.pop(stream)
        self._end(engine)  # it may merely be out of reach: it must not continue
        self.lost += 1
        if engine.loaded and not self.loaded:
            self._loading_since = time.monotonic()
        left = "" if not engine.node or _alive(engine.node) else engine.node
        reason = "its node has left the cluster" if left else reason
        logger.warning("engine %d has died (%s); others take its work", engine.number, reason)
        failed = self._queue.give_back.remote(engine.number, set(open_keys), blame=not left)
        death = Death(ray.get(failed), reason, left)
        self._fill()
        return death

    def _fill(self) -> None:
        """Let idle engines continue and start others, if there is work for them.

        Without a number of engines, one more than have found room is asked for at all times: it
        starts when a node joins or becomes free.
        """
        if not ray.get(self._queue.expect.remote(self._sharing())):
            return
        while self._idle:
            self._stream(self._idle.pop())
        goal = self._wanted or max(self._expected, self._placed() + 1)
        for _ in range(min(goal, self._limit) - len(self._streams)):
            options, group = options_of(self._size)
            actor = ray.remote(Worker).options(**options).remote(self._model, str(Path.cwd()))
            self._stream(Engine(next(self._numbers), actor, group, first=not self.served))

    def _placed(self) -> int:
        """How many engines have found room."""
        return sum(bool(engine.node) for engine in self._engines())

    def _sharing(self) -> int:
        """How many engines share the work.

        One that replaces another, or whose node has joined, shares it once it has loaded: until
        then the others must not pause.
        """
        return sum(
            engine.loaded or (engine.first and bool(engine.node)) for engine in self._engines()
        )

    def _engines(self) -> list[Engine]:
        return [*self._streams.values(), *self._idle]

    def _stream(self, engine: Engine) -> None:
        self._streams[engine.actor.replies.remote(self._queue, engine.number)] = engine

    def _end(self, engine: Engine) -> None:
        ray.kill(engine.actor)
        if engine.group is not None:
            remove_placement_group(engine.group)


def _alive(node: str) -> bool:
    return any(each["NodeID"] == node and each["Alive"] for each in ray.nodes())


def _last_words(engine: Engine) -> str:
    """The end of a dead engine's logs; empty if its node is gone or does not answer in time."""
    if not engine.logs or not _alive(engine.node):
        return ""
    task = ray.remote(last_words).options(num_cpus=0, scheduling_strategy=on_node(engine.node))
    try:
        words: str = ray.get(task.remote(engine.logs), timeout=_WORDS_SECONDS)
    except RayError:
        return ""
    return words


def _reason(error: RayError) -> str:
    """Why an actor cannot be reached, without what Ray says to all such deaths."""
    if isinstance(error, ActorDiedError) and "creation task" not in str(error):
        return "its process was killed or crashed"
    return one_line(error)
