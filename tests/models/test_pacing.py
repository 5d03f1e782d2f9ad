"""One back-off for all requests: it learns the rate, waits as told, and ends in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models import pacing
from spy_plugin.models.base import Conversation, Decoding, Fault, ModelSetupError, Reply
from spy_plugin.models.concurrency import FailureBudget
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.pacing import retry_after
from spy_plugin.models.servers import Server
from tests.models.faulty_server import KEY, FaultyServer, completion, error
from tests.models.faulty_server import Reply as Sent
from tests.on_time import within

Serve = Callable[..., FaultyServer]


def ask(url: str, count: int, **options: Any) -> list[Reply]:
    model = OpenAIModel("served", Decoding(), Server(url, KEY), ModelOptions(**options))
    return list(model.ask(Conversation(str(n), None, (f"{n}?",)) for n in range(count)))


def test_a_limited_rate_is_learned_by_all_together(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_FIRST_PAUSE", 0.1)
    taken: list[float] = []
    lock = threading.Lock()

    def limited(*_: Any) -> Sent:
        with lock:
            now = time.monotonic()
            if sum(at > now - 0.2 for at in taken) >= 6:  # thirty a second
                return error(429, "Rate limit reached")
            taken.append(now)
        return completion("ok")

    server = serve(limited)
    found = ask(server.url, 60)
    assert {reply.outcome for reply in found} == {None}
    assert len(server.requests) <= 1.5 * len(found)


@dataclass
class Clock:
    """The time that a pace sees."""

    now: float = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("anyio.current_time", lambda: clock.now)
    return clock


def test_a_refusal_soon_after_a_pause_is_no_sign_of_a_slow_server(clock: Clock) -> None:
    """The server takes five a second. As the pause ends, it has room for one, not yet for two."""
    pace = pacing.Pace()
    for _ in range(5):
        pace.accepted()
        clock.now += 0.1
    pace.refused(clock.now, None)
    assert pace.rate == pytest.approx(4.5)
    clock.now += 0.5
    pace.accepted()
    began = clock.now
    clock.now += 0.2
    pace.refused(began, None)
    assert pace.rate is not None
    assert 3.5 < pace.rate < 5


def test_a_rate_that_was_learned_too_low_rises_within_a_few_requests(clock: Clock) -> None:
    """On a busy machine replies come late: at first one, then another is all that was seen."""
    pace = pacing.Pace()
    for _ in range(2):
        pace.accepted()
        pace.refused(clock.now, None)
        clock.now += 2
    assert pace.rate is not None
    assert pace.rate < 1
    for _ in range(40):
        pace.accepted()
    assert pace.rate > 5


def test_a_server_that_takes_one_burst_and_then_little_is_soon_asked_as_slowly(
    clock: Clock,
) -> None:
    """Sixty at once, then two a second: three refusals are enough to see it."""
    pace = pacing.Pace()
    for _ in range(60):
        pace.accepted()
    pace.refused(clock.now, None)
    for _ in range(3):
        clock.now += 0.5
        pace.accepted()
        began = clock.now
        clock.now += 0.02
        pace.refused(began, None)
    assert pace.rate is not None
    assert 1 < pace.rate < 4


def test_a_server_is_left_alone_as_long_as_it_asks_for(serve: Serve) -> None:
    times: list[float] = []

    def script(*_: Any) -> Sent:
        times.append(time.monotonic())
        if len(times) == 1:
            return error(429, "later", {"Retry-After": "1"})
        return completion("ok")

    assert [reply.outcome for reply in ask(serve(script).url, 2, concurrency=1)] == [None, None]
    assert times[1] - times[0] >= 0.99


def test_a_wait_beyond_the_maximum_fails_at_once_and_names_it(serve: Serve) -> None:
    server = serve(lambda *_: error(429, "tomorrow", {"Retry-After": "86400"}))
    with within(5):
        (reply,) = ask(server.url, 1)
    assert reply.outcome is Outcome.FAILED
    assert "asks to wait 86400 s; a request waits at most 600 s" in reply.error


def test_an_empty_account_ends_the_run_at_once(serve: Serve) -> None:
    server = serve(lambda *_: error(429, "You exceeded your quota", code="insufficient_quota"))
    with pytest.raises(ModelSetupError, match="exceeded your quota"):
        ask(server.url, 5, concurrency=1)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_what_servers_ask_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_google_says_in_the_error_how_long_to_wait() -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
    problem = {"code": 429, "details": [{"@type": "QuotaFailure"}, info]}
    assert retry_after({}, problem) == 12.5
    assert retry_after({}, {"error": problem}) == 12.5
    assert retry_after({"retry-after": "3"}, problem) == 3
    assert retry_after({}, {"details": [{"retryDelay": "soon"}, 7]}) is None


@pytest.mark.parametrize("said", ["0", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_server_that_names_no_time_to_come_is_waited_for(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    async def sleep(seconds: float) -> None:
        clock.now += seconds

    monkeypatch.setattr("anyio.sleep", sleep)
    pace, pauses = pacing.Pace(), []
    for _ in range(4):
        began = clock.now
        pace.refused(began, retry_after({"retry-after": said}))
        with pytest.raises(StopIteration):
            pace.turn().send(None)  # nothing in it waits; the thread may have a loop already
        pauses.append(clock.now - began)
    assert pauses == pytest.approx([0.5, 1, 2, 4])


def test_a_date_to_wait_for() -> None:
    date = datetime.now(timezone.utc) + timedelta(seconds=90)
    assert retry_after({"retry-after": format_datetime(date)}) == pytest.approx(90, abs=2)


def test_samples_that_always_fail_do_not_end_a_run_whose_model_has_answered(serve: Serve) -> None:
    server = serve(lambda *_: error(400, "the picture is too large"))
    model = OpenAIModel("served", Decoding(), Server(server.url, KEY), ModelOptions())
    talks = [Conversation(str(n), None, (f"{n}?",)) for n in range(150)]
    model.worked_before = True
    assert len(list(model.ask(talks))) == 150
    model.worked_before = False
    with pytest.raises(ModelSetupError, match="20 requests to openai:served failed in a row"):
        list(model.ask(talks))


def test_a_server_that_dies_ends_a_run_after_a_hundred_failures() -> None:
    budget = FailureBudget("m", "the key", ModelSetupError)
    budget.count(None)
    for _ in range(99):
        budget.count(Fault.SERVER, "down")
    budget.count(Fault.REQUEST, "too long")  # says nothing of the server
    with pytest.raises(ModelSetupError, match="100 requests to m failed in a row"):
        budget.count(Fault.SERVER, "down")
