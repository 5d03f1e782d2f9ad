"""What a person sees of a run while it goes on, and when it is stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from spy_plugin.benchmark.records import Outcome
from spy_plugin.generation.generate import Progress
from spy_plugin.runs.answer_file import AnswerFile, StoredAnswer


@contextmanager
def progress_bar(file: AnswerFile, wanted: int, todo: int) -> Iterator[Progress]:
    """A bar with rate, failures and time left; when stopped, how to go on.

    SIGTERM (of `kill`, Slurm, a container's end) stops the run in good order, as Ctrl-C does.

    Args:
        wanted: Samples that shall be answered.
        todo: Those of them that are not yet.
    """
    from tqdm import tqdm

    if todo < wanted:
        print(f"{wanted - todo} of {wanted} samples are answered; going on with {todo}")
    failures = 0
    bar = tqdm(
        total=wanted, initial=wanted - todo, unit="sample", desc=file.run.model, disable=None
    )

    def progress(answer: StoredAnswer) -> None:
        nonlocal failures
        failures += answer.outcome is Outcome.FAILED
        bar.set_postfix(failed=failures, refresh=False)
        bar.update()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with bar:
            yield progress
    except KeyboardInterrupt:
        print(
            f"\n{file.outcomes()['answered']} of {len(file.samples)} samples are answered; what "
            f"came is kept in {file.path}. To go on, run the same command again.",
            file=sys.stderr,
        )
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def counts(file: AnswerFile) -> str:
    """How many samples have come to what."""
    found = file.outcomes()
    parts = [f"{name} {found[name]}" for name in ("answered", "filtered", "failed")]
    return f"{', '.join(parts)} of {len(file.samples)} samples"
