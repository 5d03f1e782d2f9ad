"""Open a benchmark by name or folder: the official one from the user's copy, or an embedded one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.benchmark.own_names import FORM_FILE, PREFIX
from spy_plugin.benchmark.protocol import BUILTIN, CONFIG_FILE, read_official_protocol
from spy_plugin.data.prepared import RECORD, folder_of, read_prepared, read_prepared_folder
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
"""Benchmarks that need no download and are data sets of the hosts."""

_LAB_SPLITS: Mapping[str, tuple[Split, str]] = {
    LAB: ("test", "tiny"),
    LAB_VALIDATION: ("validation", "tiny"),
    LAB_SMALL: ("test", "small"),
    LAB_SMALL_VALIDATION: ("validation", "small"),
}
"""Benchmark -> split and size of the lab."""

DRAWN = (MINI, *_LAB_SPLITS)
"""Benchmarks that the package draws at first use."""
NAMES = (OFFICIAL, *DRAWN)
"""All names that `open_benchmark` knows."""

UNPINNED = "official (unpinned)"
"""Name of data in the official layout that are not a registered revision of the release."""

RELEASE_VARIABLE = "SPY_BENCH_RELEASE"
"""Environment variable that names the root of an official release."""

OWN_VARIABLE = "SPY_BENCH_OWN"
"""Environment variable that names the folder of one's own benchmark; see `spy-bench new`."""


class MissingDataError(SpyBenchError):
    """The official data are not on this machine."""


def open_benchmark(name: str) -> Benchmark:
    """Open a benchmark by name; upper and lower case mean the same.

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
    if _is_own_name(name) or name.startswith(PREFIX):
        return _open_named_own(name)
    known = known_name(name)
    if known is None:
        raise SpyBenchError(f"no benchmark is called {name!r}. {_closest(name)}")
    return _open_official() if known == OFFICIAL else _open_drawn(known)


def open_named(text: str) -> Benchmark:
    """Open what a user names: a name comes first, so that a folder called mini is ``./mini``.

    Raises:
        SpyBenchError: the text is neither a name nor a folder; as `open_benchmark` besides.
    """
    if is_name(text):
        return open_benchmark(text)
    folder = expand(text)
    if folder.is_dir():
        return open_folder(folder)
    raise SpyBenchError(
        f"no benchmark is called {text!r}, and there is no such folder. {_closest(text)}"
    )


def is_name(text: str) -> bool:
    """Return whether `open_named` takes a text for a name rather than for a folder."""
    return known_name(text) is not None or _is_own_name(text)


def open_folder(folder: Path) -> Benchmark:
    """Open the benchmark in a folder. What kind of folder it is, is found out here and only here.

    Raises:
        DataError: it holds no benchmark, or a wrong one; names file and item.
    """
    if is_own(folder):
        return open_own(folder)
    if (folder / RECORD).is_file():
        return _open_prepared_copy(folder)
    return open_release(folder)


def known_name(name: str) -> str | None:
    """Return a name as `NAMES` spells it; None if no benchmark is called so."""
    if name == UNPINNED:
        return OFFICIAL
    folded = name.strip().casefold().replace("_", "-")
    return folded if folded in NAMES else None


def _is_own_name(name: str) -> bool:
    return name.strip().casefold() == OWN


def _closest(name: str) -> str:
    close = difflib.get_close_matches(name.casefold().replace("_", "-"), NAMES, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}Use {', '.join(NAMES)}, or the folder of a release or of your own benchmark."


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
    if not _is_own_name(name) and name != benchmark.name:
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

    named = os.environ.get(RELEASE_VARIABLE)
    if named:
        return open_release(expand(named))
    prepared = read_prepared("official")
    if prepared is None:
        raise MissingDataError(
            f"the official SPY-Bench data are missing: {RELEASE_VARIABLE} is not set, and nothing "
            f"was prepared in {home() / 'official'}. Prepare them with: spy-bench data prepare. "
            "Or try the embedded benchmark, which needs no download: mini, in VLMEvalKit "
            "SPYBench_MINI, in lmms-eval spy_bench_mini."
        )
    benchmark = load_release(prepared.release, image_root=prepared.image_root)
    name = OFFICIAL if prepared.pinned else UNPINNED
    return replace(benchmark, name=name, decoded=prepared.record.images > 0)


def _open_prepared_copy(folder: Path) -> Benchmark:
    """Open a prepared release wherever it lies; its record is believed only where it was made."""
    prepared = read_prepared_folder(folder)
    benchmark = replace(open_release(folder), image_root=prepared.image_root)
    here = folder.resolve() == folder_of("official").resolve()
    return replace(benchmark, decoded=here and prepared.record.images > 0)


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
