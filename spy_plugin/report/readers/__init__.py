"""Find and read the results of a run: a folder of either host, one of ours, or a verdict file."""

from __future__ import annotations

import shlex
from pathlib import Path

from spy_plugin.benchmark.own_names import PREFIX
from spy_plugin.benchmarks import known_name, open_benchmark
from spy_plugin.errors import SpyBenchError
from spy_plugin.judging.metadata import record_of_answers
from spy_plugin.report.readers import inspect as read_inspect
from spy_plugin.report.readers import lmms as read_lmms
from spy_plugin.report.readers import official as read_official
from spy_plugin.report.readers import spy as read_spy
from spy_plugin.report.readers import vlmeval as read_vlmeval
from spy_plugin.report.results import Found

_FILES = (".jsonl", ".gz")


class NoResultsError(SpyBenchError):
    """A run holds no results."""


def read_run(path: Path) -> Found:
    """Read one run.

    Raises:
        NoResultsError: it holds no results; names what was searched for.
        DataError: a result file is broken.
    """
    found = Found()
    if path.is_file():
        if read_inspect.is_log(path):
            read_inspect.read_file(path, found)
            _refuse_nothing(path, found)
            return found
        if path.suffix not in _FILES:
            raise NoResultsError(
                f"{path} is not a verdict file. Give a folder of results or a .jsonl of verdicts."
            )
        read_spy.read_file(path, found)
        return found
    if not path.is_dir():
        if path.exists():
            raise NoResultsError(f"{path} is neither a file nor a folder. Give a run's folder.")
        raise NoResultsError(f"{path} does not exist. Give the folder that a run wrote.")
    for reader in _READERS:
        reader.read(path, found)
    _refuse_nothing(path, found)
    return found


def _refuse_nothing(path: Path, found: Found) -> None:
    if not found.privacy and not found.general:
        names = [name for reader in _READERS for name in reader.LOOKED_FOR]
        reasons = [broken.reason + "." for broken in found.broken] + found.notes
        for answers in sorted(path.glob("*_answers.jsonl"))[:1]:
            reasons.append(f"Its answers are not judged. Judge them with: {_judge(answers)}.")
        why = " ".join(reasons)
        raise NoResultsError(
            f"{path} holds no results. {why + ' ' if why else ''}Searched it for: "
            f"{', '.join(names)}. Give the folder that a run of VLMEvalKit, lmms-eval, inspect_ai, "
            "spy-bench or the official scripts wrote, or a .jsonl of verdicts."
        )


def _judge(answers: Path) -> str:
    """Return the command that judges answers, and what to put into it that no record holds."""
    record = record_of_answers(answers)
    words = ["spy-bench", "judge", str(answers)]
    answered = "what they answer" if record is None else record[1].benchmark
    if known_name(answered) is not None or _is_named_by_variable(answered):
        return shlex.join(words)
    return (
        f"{shlex.join([*words, '--benchmark', 'DIR'])} (put the folder of {answered} in place of "
        "DIR: no file of the run holds its path)"
    )


def _is_named_by_variable(benchmark: str) -> bool:
    """Return whether a variable names the folder of one's own benchmark, so that judges find it."""
    if not benchmark.startswith(PREFIX):
        return False
    try:
        open_benchmark(benchmark)
    except SpyBenchError:
        return False
    return True


_READERS = (read_spy, read_official, read_vlmeval, read_lmms, read_inspect)
