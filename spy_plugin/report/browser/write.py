"""Write the folder of the sample browser, in one step."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from spy_plugin import __version__
from spy_plugin.errors import DataError
from spy_plugin.files.writing import FileLock, naming, replace_folder
from spy_plugin.report.browser.answers import Job, write_answers
from spy_plugin.report.browser.columns import BrowsedRun, Samples, combine, index_of, packed
from spy_plugin.report.browser.pictures import find_pictures, write_pictures
from spy_plugin.report.browser.prompts import PromptSet, write_prompts
from spy_plugin.report.browser.scripts import write_script
from spy_plugin.report.loading import Loaded
from spy_plugin.scoring.table import Ints

logger = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page")
_MARK = b'<meta name="generator" content="spy-bench sample browser">'
"""By this line of `index.html` a folder is known as ours, and may be replaced."""

_DATA, _PICTURES = "data", "pictures"

_PARALLEL_BYTES = 20_000_000
"""With less to read, further processes cost more than they save."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        samples: Number of samples.
        pictures: Files of the pictures that were not copied, by name below the folder.
    """

    samples: int
    pictures: dict[str, Path]


def browsed(named: Iterable[tuple[str, str, Loaded]]) -> list[BrowsedRun]:
    """Return the runs of (row id, model, verdicts), in the order in which the page lists them."""
    runs = [BrowsedRun(*each) for each in named]

    def order(run: BrowsedRun) -> tuple[str, str, bool, str]:
        about = run.loaded.about
        return about.benchmark, about.variant, run.policy, run.id

    return sorted(runs, key=order)


def write_browser(
    runs: Sequence[BrowsedRun],
    folder: Path,
    *,
    pictures: bool = False,
    copy_pictures: bool = True,
    beside_report: bool = False,
    processes: int = 1,
) -> Written:
    """Write the browser of some runs into a folder; an earlier one is replaced.

    The folder appears when it is complete. Only its user may open it, as all files of answers.

    Args:
        pictures: Include the pictures of the official release, too.
        beside_report: `report.html` is in the folder above, and the page links to it.
        copy_pictures: Write small copies of the pictures; else the page expects them to be served.
        processes: How many runs are written at a time.

    Raises:
        DataError: the folder exists and holds something else, or a file changed meanwhile.
    """
    refuse_foreign(folder)
    samples = combine([run.loaded.table for run in runs])
    with _replacing_folder(folder) as new:
        for path in sorted(PAGE.iterdir()):
            shutil.copyfile(path, new / path.name)
        data = new / _DATA
        data.mkdir()
        index = index_of(runs, samples)
        lines = [_lines(run, rows) for run, rows in zip(runs, samples.rows, strict=True)]
        sets = _write_prompt_sets(runs, lines, samples, data)
        jobs = [_job(number, run, lines[number], data) for number, run in enumerate(runs)]
        for entry, prompts, thoughts in zip(
            index["runs"], sets, _write_all(jobs, processes), strict=True
        ):
            entry |= {"prompts": prompts, "thoughts": thoughts}
        names = dict.fromkeys(run.loaded.about.benchmark for run in runs)
        found = find_pictures(names, samples, official=pictures)
        shown = sorted(found)
        if copy_pictures:
            shown = write_pictures(found, new / _PICTURES, threads=processes)
        has = np.zeros(len(samples.images), np.int64)
        has[shown] = 1
        index["pictures"] = packed(has, "<u1")
        index["report"] = beside_report
        index["made"] = f"spy-bench {__version__}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
        write_script(data, "index", index)
    served = {} if copy_pictures else {f"{_PICTURES}/{i}.jpg": path for i, path in found.items()}
    return Written(len(samples), served)


def _lines(run: BrowsedRun, rows: Ints) -> Ints:
    """Return the line of each sample in the run's file; 0 for none."""
    lines: Ints = np.where(rows < 0, 0, run.loaded.lines[rows])
    return lines


def _job(number: int, run: BrowsedRun, lines: Ints, folder: Path) -> Job:
    result, answers = run.loaded.result, None
    if result.metadata and result.metadata.answers.endswith((".jsonl", ".jsonl.gz")):
        beside = result.verdicts.parent / Path(result.metadata.answers).name
        answers = beside if beside.is_file() else None
    return Job(number, result.verdicts, answers, lines, run.loaded.about.turn, folder)


def _write_prompt_sets(
    runs: Sequence[BrowsedRun], lines: Sequence[Ints], samples: Samples, folder: Path
) -> list[int]:
    """Write the prompts of each data set once; return the set of each run, -1 where unknown."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, run in enumerate(runs):
        about = run.loaded.about
        key = (about.benchmark, about.variant, about.data_fingerprint)
        groups.setdefault(key, []).append(number)
    out = [-1] * len(runs)
    for place, members in enumerate(groups.values()):
        fullest = max(members, key=lambda number: int((lines[number] > 0).sum()))
        asked = PromptSet(
            about=runs[fullest].loaded.about,
            wanted=np.max([lines[number] for number in members], axis=0) > 0,
            verdicts=runs[fullest].loaded.result.verdicts,
            lines=lines[fullest],
        )
        if write_prompts(place, asked, samples, folder):
            for number in members:
                out[number] = place
    return out


def _write_all(jobs: Sequence[Job], processes: int) -> list[list[int]]:
    size = sum(job.verdicts.stat().st_size for job in jobs)
    if processes <= 1 or len(jobs) == 1 or size < _PARALLEL_BYTES:
        return [write_answers(job) for job in jobs]
    with ProcessPoolExecutor(processes, initializer=_leave_interrupts) as pool:
        try:
            return list(pool.map(write_answers, jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_interrupts() -> None:
    """Let the parent alone end on Ctrl-C; it cancels what waits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def refuse_foreign(folder: Path) -> None:
    """Refuse to replace a folder that is not a sample browser, or holds anything else, too.

    Raises:
        DataError: it does, or is the folder that this process runs in.
    """
    if not folder.name or folder.is_symlink():
        raise DataError("cannot be replaced in one step", "Name a folder of its own.", path=folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    page = folder / "index.html"
    if page.is_file() and _MARK in page.read_bytes()[:1000]:
        ours = {path.name for path in PAGE.iterdir()} | {_DATA, _PICTURES}
        others = sorted({path.name for path in folder.iterdir()} - ours)
        if others:
            raise DataError(
                f"holds more than a sample browser ({others[0]})",
                "Move that away, or name another folder.",
                path=folder,
            )
    else:
        raise DataError(
            "exists and is not a sample browser that spy-bench wrote",
            "Move it away, or name another folder.",
            path=folder,
        )


@contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of another at the end, if all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new, old = (folder.with_name(f".{folder.name}.{what}.tmp") for what in ("new", "old"))
    with naming(folder, new, old), FileLock(folder):
        for left in (new, old):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(mode=0o700)
        try:
            yield new
            replace_folder(folder, new, old)
        finally:
            shutil.rmtree(new, ignore_errors=True)
