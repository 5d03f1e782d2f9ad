"""The rate at which a server takes requests, learned from its refusals and kept by all together.

Libraries for rate limits (aiolimiter, tenacity) keep a rate or a delay that they are told; servers
seldom tell theirs. Here, every request waits for its turn. A refusal for the rate pauses all of
them, as long as the server says, and lets later ones begin at the rate that the server was seen to
take, which then grows slowly until the next refusal.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import anyio

MAX_WAIT = 600.0
"""Seconds that a request waits at most for a server that refuses it for the rate."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_FIRST_RATE = 8.0
_LESS, _SLOWLY, _QUICKLY, _STREAK = 0.9, 1.005, 1.05, 100
_SUSTAINED = 10
"""Requests taken since a refusal, after which the next one shows that the rate is too high."""

_UNLIMITED = 1000.0
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d+)?)s")


class Pace:
    """When the next request to one server may begin.

    Attributes:
        rate: Requests a second; None as long as none was refused.
        pauses_in_vain: How many pauses there were since the server took a request.
    """

    def __init__(self) -> None:
        self.rate: float | None = None
        self.pauses_in_vain = 0
        self._next = 0.0
        self._pauses = 0
        self._pause = _FIRST_PAUSE
        self._cut_at = self._resumes_at = -math.inf
        self._streak = 0
        self._settled = False  # a later refusal has shown that the rate is near the limit
        self._accepted: deque[float] = deque(maxlen=1000)

    async def turn(self) -> float:
        """Wait until a request may begin; returns the time at which it does."""
        while True:
            now, pauses = anyio.current_time(), self._pauses
            at = max(now, self._next)
            self._next = at + (1 / self.rate if self.rate else 0.0)
            await anyio.sleep(at - now)
            if pauses == self._pauses:
                return anyio.current_time()

    def accepted(self) -> None:
        """Count a request that the server took."""
        self._accepted.append(anyio.current_time())
        self._streak += 1
        self.pauses_in_vain = 0
        if self.rate is not None:
            slowly = self._settled and self._streak < _STREAK
            self.rate *= _SLOWLY if slowly else _QUICKLY
            if self.rate > _UNLIMITED:
                self.rate = None

    def refused(self, began: float, wait: float | None) -> None:
        """Slow down after a request that was refused for the rate.

        Args:
            began: When it began. One that began before the last pause says nothing new, unless
                the server names a time.
            wait: Seconds that the server asks to wait; None if it does not say.
        """
        now = anyio.current_time()
        if began > self._cut_at:
            recent = self._taken_lately(now)
            if self._streak or self.rate is None:
                self._settled = self.rate is not None and self._streak >= _SUSTAINED
                self.rate = _LESS * min(self.rate or math.inf, recent or _FIRST_RATE)
                self._pause = _FIRST_PAUSE
            else:  # nothing was taken since the last pause, so the rate is not what was wrong
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._cut_at, self._streak = now, 0
            self.pauses_in_vain += 1
            # A pause of our own at least: a clock that differs makes a date one of the past.
            self._wait_until(now + max(self._pause, wait or 0.0))
            self._resumes_at = self._next
        elif wait is not None and now + wait > self._next:
            self._wait_until(now + wait)

    def _taken_lately(self, now: float) -> int:
        """How many requests the server took in the last second in which it was asked.

        The last pause does not count as time: a refusal right after it would show a rate that is
        far too low, and one that rises slowly from there.
        """
        asked = max(0.0, now - self._resumes_at)
        start = now - 1 if asked >= 1 else self._cut_at - (1 - asked)
        return sum(at > start for at in self._accepted)

    def _wait_until(self, time: float) -> None:
        self._pauses += 1
        self._next = time


def retry_after(
    headers: Mapping[str, str], problem: Mapping[str, Any] | None = None
) -> float | None:
    """Return the seconds that a response asks to wait; None if it does not say.

    Servers give milliseconds, seconds or a date
    (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after); Google's, in the error itself
    (https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto).

    Args:
        problem: The error as plain JSON.
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return _retry_delay(problem or {})
    zoned = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (zoned - datetime.now(timezone.utc)).total_seconds())


def _retry_delay(problem: Mapping[str, Any]) -> float | None:
    """The ``retryDelay`` of a ``google.rpc.RetryInfo``, as in ``"12.5s"``."""
    inner = problem.get("error")
    details = (inner if isinstance(inner, Mapping) else problem).get("details")
    for detail in details if isinstance(details, list) else ():
        said = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(said, str) and (found := _SECONDS.fullmatch(said)):
            return float(found[1])
    return None
