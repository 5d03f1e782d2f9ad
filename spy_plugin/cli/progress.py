"""What a person sees of a run in progress, and when it is stopped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from spy_plugin.benchmark.records import Answer, Outcome, Verdict
from spy_plugin.judging.base import Judgement
from spy_plugin.models.base import Reply
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.submitted import submitted_keys


@contextmanager
def progress_bar(
    name: str,
    wanted: int | None,
    *,
    done: int = 0,
    stopped: Callable[[], str],
    status: Callable[[], Mapping[str, int | str]] = dict,
    unit: str = "sample",
) -> Iterator[Callable[[Answer | Verdict | Reply | Judgement], None]]:
    """A bar with rate, failures and time left; yields what to call with each record.

    Args:
        wanted: Samples in all; None if that is not known before.
        done: Those of them that are done already.
        stopped: What to say when the run is stopped: what is kept, and where; empty for nothing.
        status: Gives what else the bar shows, name -> value. It is asked every second, too: a
            model may load for minutes before the first record.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    failures = 0
    bar = tqdm(total=wanted, initial=done, unit=unit, desc=name, disable=None)

    def progress(record: Answer | Verdict | Reply | Judgement) -> None:
        nonlocal failures
        failures += record.outcome is Outcome.FAILED
        bar.set_postfix({**status(), "failed": failures}, refresh=False)
        bar.update()

    def tick() -> None:
        if shown := status():
            bar.set_postfix({**shown, "failed": failures})

    try:
        with logging_redirect_tqdm(), bar, _every_second(tick):
            yield progress
    except KeyboardInterrupt:
        print(f"\n{stopped()}To resume, run the same command again.", file=sys.stderr)
        raise


@contextmanager
def _every_second(work: Callable[[], None]) -> Iterator[None]:
    """Meanwhile, call a function every second in a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(1.0):
            work()

    thread = threading.Thread(target=run, name=__name__, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(1.0)  # not for ever: tqdm keeps its lock if an interrupt comes while it draws


@contextmanager
def answers_bar(
    file: AnswerFile,
    wanted: int,
    todo: int,
    status: Callable[[], Mapping[str, int | str]] = dict,
) -> Iterator[Callable[[Answer | Verdict], None]]:
    """The bar of a run that writes answers.

    Args:
        wanted: Samples that shall be answered.
        todo: Those of them that are not yet.
        status: See `progress_bar`.
    """
    if todo < wanted:
        print(f"{wanted - todo} of {wanted} samples are answered; resuming with {todo}")

    def stopped() -> str:
        if not file.records:
            return ""
        answered = file.outcomes()["answered"]
        return (
            f"{answered} of {len(file.samples)} samples are answered; what came is kept in "
            f"{file.path}. "
        )

    name = file.run.model
    done = wanted - todo
    with progress_bar(name, wanted, done=done, stopped=stopped, status=status) as progress:
        yield progress


def counts(file: AnswerFile) -> str:
    """How many samples have come to what."""
    found = file.outcomes()
    parts = [f"{name} {found[name]}" for name in ("answered", "filtered", "failed")]
    return f"{', '.join(parts)} of {len(file.samples)} samples"


def say_if_paid_twice(out: Path, what: str) -> None:
    """Say that batches of an output file are still open when a command asks without them.

    Args:
        what: What the batches hold: ``samples`` or ``questions``.
    """
    waiting = len(submitted_keys(out))
    if waiting:
        print(
            f"{waiting} {what} are in batches that are not collected; what is open of them is "
            "asked now, and paid for twice"
        )
