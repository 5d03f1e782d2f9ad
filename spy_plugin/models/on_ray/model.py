"""One model that many engines answer for, wherever a Ray cluster has room for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.files.text import one_line
from spy_plugin.models.base import Conversation, Model, ModelSetupError, Reply
from spy_plugin.models.on_ray.cluster import (
    LOCAL,
    Connection,
    capacity,
    check_address,
    engine_size,
    require_ray,
)
from spy_plugin.models.on_ray.work import grouped

if TYPE_CHECKING:
    from spy_plugin.models.on_ray.fleet import Death, Fleet

logger = logging.getLogger(__name__)

MAX_DEATHS = 3
"""So many deaths of engines without an answer between them end a run."""

_SILENCE = 60.0
"""Seconds without a loaded engine after which a warning says what is waited for."""


class RayModel(Model):
    """Engines on a Ray cluster that share the conversations, whole pictures at a time.

    Its identity is that of one engine: answers may be begun by one and resumed by many.

    Args:
        model: What every engine runs; not loaded, and not loaded here.
        address: `cluster.LOCAL`, `cluster.AUTO`, or a cluster's ``HOST:PORT``.
        engines: How many; None for as many as find room.
        arguments: The engines' arguments, which say how many GPUs one takes.

    Raises:
        MissingDependencyError: Ray is not installed.
        ModelSetupError: the address is not one for this.
    """

    def __init__(
        self, model: Model, address: str, engines: int | None, arguments: Mapping[str, Any]
    ) -> None:
        require_ray()
        check_address(address)
        self.backend, self.model, self.decoding = model.backend, model.model, model.decoding
        self.settings, self.server = model.settings, model.server
        self._inner, self._address, self._engines = model, address, engines
        self._arguments = arguments
        self._connection: Connection | None = None
        self._asked, self._groups = 0, 0

    @cached_property
    def fleet(self) -> Fleet:
        """The engines, on a cluster that is reached when first asked.

        Raises:
            ModelSetupError: it cannot be reached, or is too small.
        """
        self._connection = Connection(self._address)
        from spy_plugin.models.on_ray.fleet import Fleet

        size = engine_size(self.backend, self._arguments, self._engines)
        if not capacity(size):
            problem = f"an engine takes {size}, and no node of the Ray cluster has room for it"
            if self._address == LOCAL:
                raise ModelSetupError(
                    f"{problem}. Lower the parallel sizes in --engine-args, or use more GPUs."
                )
            logger.warning("%s yet", problem)
        return Fleet(self._inner, size, self._engines)

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield each reply once, whatever dies.

        Raises:
            ModelSetupError: the model cannot be loaded, or engine after engine dies.
        """
        # Names of our own: a later turn has the sample's name again, and an engine that is out of
        # reach may still reply to an earlier one.
        keys: dict[str, str] = {}
        renamed = []
        for number, conversation in enumerate(conversations, self._asked):
            keys[str(number)] = conversation.key
            renamed.append(replace(conversation, key=str(number)))
        groups = list(grouped(renamed, self._groups))
        self._asked += len(keys)
        self._groups += len(groups)
        if not groups:
            return
        try:
            fleet = self.fleet
            from ray.exceptions import RayError  # may be imported from here on

            try:
                fleet.start(groups)
                yield from self._replies(keys)
            except RayError as error:
                raise ModelSetupError(
                    f"the Ray cluster has failed ({one_line(error)}). Run the same command again "
                    "to resume."
                ) from error
        finally:
            if keys:  # the reader has stopped, or no engine can answer
                self.close()

    def _replies(self, keys: dict[str, str]) -> Iterator[Reply]:
        """Yield what the engines say, and remove it from `keys`: our name -> the caller's."""
        streak = _Streak()
        silent_since = time.monotonic()
        while keys:
            event = self.fleet.next(keys.keys())
            if isinstance(event, Reply):
                if event.key in keys:
                    streak = _Streak()
                    yield replace(event, key=keys.pop(event.key))
            elif event is not None:
                reason = f"an engine died for the second time with this picture: {event.reason}"
                for key in event.failed:
                    yield Reply(keys.pop(key), outcome=Outcome.FAILED, error=reason)
                streak.add(event)
            elif self.fleet.loaded:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > _SILENCE:
                silent_since = float("inf")
                logger.warning("still waiting for room on the cluster, or for a model to load")

    def status(self) -> Mapping[str, int | str]:
        """Engines that are at work or load, and those that were lost."""
        fleet = self.__dict__.get("fleet")
        return {"engines": fleet.readiness(), "lost": fleet.lost} if fleet else {}

    def close(self) -> None:
        """End the engines on every node, and a cluster that was started here."""
        fleet = self.__dict__.pop("fleet", None)
        if fleet is not None:
            fleet.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Streak:
    """Deaths without an answer between them.

    One that showed which picture is to blame is not counted, but only one: where the engine itself
    is broken, every picture seems to be. A node that leaves counts once, however many engines it
    had.
    """

    def __init__(self) -> None:
        self._reasons: list[str] = []
        self._left: set[str] = set()
        self._explained = False

    def add(self, death: Death) -> None:
        """Count a death.

        Raises:
            ModelSetupError: it is one too many.
        """
        if death.failed and not self._explained:
            self._explained = True
            return
        if death.left in self._left:
            return
        if death.left:
            self._left.add(death.left)
        self._reasons.append(death.reason)
        if len(self._reasons) >= MAX_DEATHS:
            reasons = "; or: ".join(dict.fromkeys(self._reasons))
            raise ModelSetupError(
                f"{MAX_DEATHS} engines have died without an answer between them: {reasons}. "
                "Fix this and run the same command again to resume."
            )
