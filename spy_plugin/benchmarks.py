"""Open a benchmark by name: the official one, an embedded one, or one's own by its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.own_names import FORM_FILE, PREFIX
from spy_plugin.benchmark.protocol import BUILTIN, CONFIG_FILE, read_official_protocol
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.home import expand, home

if TYPE_CHECKING:
    from spy_plugin.benchmark.samples import Benchmark
    from spy_plugin.embedded.lab.world import Split

OFFICIAL = "official"
MINI = "mini"
LAB = "lab"
"""The lab's test split; `LAB_VALIDATION` is for checks during training."""
LAB_VALIDATION = "lab-validation"
LAB_SMALL = "lab-small"
LAB_SMALL_VALIDATION = "lab-small-validation"
"""The same splits at the lab's small size, which has other wordings."""

OWN = "own"
"""The benchmark from one's own pictures in the folder that `OWN_VARIABLE` names."""

EMBEDDED = (MINI, LAB, LAB_SMALL)
"""Benchmarks that need no download; judged by rules if no judge is named."""

_LAB_SPLITS: Mapping[str, tuple[Split, str]] = {
    LAB: ("test", "tiny"),
    LAB_VALIDATION: ("validation", "tiny"),
    LAB_SMALL: ("test", "small"),
    LAB_SMALL_VALIDATION: ("validation", "small"),
}
"""Benchmark -> split and size of the lab."""

UNPINNED = "official (unpinned)"
"""Name of data in the official layout that are not a registered revision of the release."""

RELEASE_VARIABLE = "SPY_BENCH_RELEASE"
"""Environment variable that names the root of an official release."""

OWN_VARIABLE = "SPY_BENCH_OWN"
"""Environment variable that names the folder of one's own benchmark; see `spy-bench new`."""


class MissingDataError(SpyBenchError):
    """The official data are not on this machine."""


def open_benchmark(name: str) -> Benchmark:
    """Open a benchmark by name.

    Args:
        name: ``official``, from the release that `SPY_BENCH_RELEASE` names or else the one that
            was prepared; ``mini``; ``lab``, ``lab-validation``, ``lab-small``,
            ``lab-small-validation``, which are drawn at first use like ``mini``; or ``own`` for
            the folder that `SPY_BENCH_OWN` names.

    Raises:
        MissingDataError: no official release was found, or no folder is named.
        DataError: the data are wrong; names file and item.
        SpyBenchError: there is no benchmark of this name.
    """
    if name == MINI or name in _LAB_SPLITS:
        return _open_drawn(name)
    if name in (OFFICIAL, UNPINNED):
        return _open_official()
    if name == OWN or name.startswith(PREFIX):
        return _open_named_own(name)
    raise SpyBenchError(
        f"unknown benchmark {name!r}. Use one of {', '.join((OFFICIAL, MINI, *_LAB_SPLITS, OWN))}."
    )


def open_named(name: str) -> Benchmark:
    """Open a benchmark by its name, or one's own by its folder.

    Raises:
        SpyBenchError: as `open_benchmark` and `open_own`.
    """
    folder = expand(name)
    if is_own(folder):
        return open_own(folder)
    if folder.is_dir():
        raise DataError(
            f"holds no {FORM_FILE}",
            "Write one with spy-bench new DIR; a copy of the official release goes by --release.",
            path=folder,
        )
    if len(Path(name).parts) > 1:
        raise DataError("is not a folder", "Check the path.", path=folder)
    return open_benchmark(name)


def is_own(folder: Path) -> bool:
    """Return whether a folder holds the form of a benchmark from one's own pictures."""
    return (folder / FORM_FILE).is_file()


def open_own(folder: Path) -> Benchmark:
    """Open the benchmark from one's own pictures in a folder that `spy-bench new` wrote.

    Raises:
        DataError: the form has a problem, or an unconfirmed draft; names file and line.
    """
    from spy_plugin.benchmark.own_benchmark import open_form

    return open_form(folder).benchmark


def _open_named_own(name: str) -> Benchmark:
    """Open the benchmark in the folder that `OWN_VARIABLE` names; a name must be its own."""
    folder = os.environ.get(OWN_VARIABLE)
    if not folder:
        raise MissingDataError(
            f"{name} is in a folder of its own, and {OWN_VARIABLE} does not name it. Set it to the "
            "folder that spy-bench new wrote."
        )
    benchmark = open_own(expand(folder))
    if name not in (OWN, benchmark.name):
        raise MissingDataError(
            f"{OWN_VARIABLE} names the folder of {benchmark.name}, not of {name}. Set it to the "
            "folder of the latter."
        )
    return benchmark


def _open_drawn(name: str) -> Benchmark:
    """Open one of ours, which are drawn at first use."""
    from spy_plugin.benchmark.loading import load_benchmark

    if name == MINI:
        from spy_plugin.embedded import mini

        root = mini.build()
    else:
        from spy_plugin.embedded.lab import data

        root = data.build(*_LAB_SPLITS[name])
    benchmark = load_benchmark(
        root / "questions.json", root / "label2text.json", BUILTIN, image_root=root, name=name
    )
    return replace(benchmark, decoded=True)


def _open_official() -> Benchmark:
    from spy_plugin.benchmark.loading import load_release
    from spy_plugin.data.prepared import read_prepared

    named = os.environ.get(RELEASE_VARIABLE)
    if named:
        return open_release(expand(named))
    prepared = read_prepared("official")
    if prepared is None:
        raise MissingDataError(
            f"the official SPY-Bench data are missing: {RELEASE_VARIABLE} is not set, and nothing "
            f"was prepared in {home() / 'official'}. Prepare them with: spy-bench data prepare"
        )
    benchmark = load_release(prepared.release, image_root=prepared.image_root)
    name = OFFICIAL if prepared.pinned else UNPINNED
    return replace(benchmark, name=name, decoded=prepared.record.images > 0)


def open_release(folder: Path) -> Benchmark:
    """Open the release in a folder; a revision that is not registered is named `UNPINNED`.

    Raises:
        DataError: the data are wrong; names file and item.
    """
    from spy_plugin.benchmark.loading import load_release

    benchmark = load_release(folder)
    return benchmark if _is_pinned(folder) else replace(benchmark, name=UNPINNED)


def open_files(
    questions: Path, labels: Path | None = None, images: Path | None = None
) -> Benchmark:
    """Open an official benchmark that is given as single files.

    The words are those of the release that the questions lie in, else the built-in ones.

    Args:
        questions: `questions.json`, or a `.jsonl` of it or of the official scripts' rows.
        labels: `label2text.json`; by default the one beside the questions.
        images: Folder that `image_path` is relative to; by default that of the questions.

    Raises:
        DataError: the data are wrong; names file and item.
    """
    from spy_plugin.benchmark.loading import load_benchmark

    folder = questions.absolute().parent
    release = folder.parent.parent
    in_release = folder == release / "benchmark" / "data" and (release / CONFIG_FILE).is_file()
    if in_release and questions.name == "questions.json" and labels is None:
        benchmark = open_release(release)
        return replace(benchmark, image_root=images) if images else benchmark
    protocol = read_official_protocol(release) if in_release else BUILTIN
    labels = labels or folder / "label2text.json"
    return load_benchmark(questions, labels, protocol, image_root=images or folder, name=UNPINNED)


def _is_pinned(folder: Path) -> bool:
    from spy_plugin.data.prepared import release_of

    try:
        return release_of(folder) is not None
    except DataError:  # a file that we do not need is missing: another revision
        return False
