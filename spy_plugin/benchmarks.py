"""Opening a benchmark by name: the official one from the user's copy, or the embedded one."""

from __future__ import annotations

import os
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.home import home
from spy_plugin.protocol import BUILTIN
from spy_plugin.samples import Benchmark, load_benchmark, load_release

OFFICIAL = "official"
MINI = "mini"

RELEASE_VARIABLE = "SPY_BENCH_RELEASE"


class MissingDataError(SpyBenchError):
    """The official data are not on this machine."""


def open_benchmark(name: str) -> Benchmark:
    """Open `official` or `mini`; the latter is drawn into the cache at first use.

    Raises:
        MissingDataError: there is no official release where one is looked for.
        DataError: what is there is wrong.
    """
    if name == MINI:
        return _open_mini()
    if name == OFFICIAL:
        return _open_official()
    raise SpyBenchError(f"unknown benchmark {name!r}. Use {OFFICIAL} or {MINI}.")


def _open_mini() -> Benchmark:
    from spy_plugin import mini

    root = mini.build()
    return load_benchmark(
        root / "questions.json", root / "label2text.json", BUILTIN, image_root=root, name=MINI
    )


def _open_official() -> Benchmark:
    release = os.environ.get(RELEASE_VARIABLE)
    if release:
        return load_release(Path(release).expanduser())
    raise MissingDataError(
        "the official SPY-Bench data are missing: no folder is named by "
        f"{RELEASE_VARIABLE}, and {home() / 'official'} does not exist. "
        "Get them with: spy-bench data prepare"
    )
