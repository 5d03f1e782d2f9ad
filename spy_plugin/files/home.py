"""The folder in which this package keeps data for its user: pictures, downloads, caches."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from spy_plugin.errors import SpyBenchError


def home() -> Path:
    """Return ``$SPY_BENCH_HOME`` if set, else ``spy-bench`` in the XDG cache folder.

    The folder may not exist yet. The XDG cache folder is ``$XDG_CACHE_HOME`` if that is an absolute
    path, else ``~/.cache`` (XDG Base Directory Specification 0.8).

    Raises:
        SpyBenchError: this user has no home folder.
    """
    own = os.environ.get("SPY_BENCH_HOME", "")
    if own:
        return expand(own).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else expand("~/.cache")) / "spy-bench"


def expand(path: str | Path) -> Path:
    """Return a path with the user's home folder in place of ``~``.

    Raises:
        SpyBenchError: there is no such user, or this one has no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SpyBenchError(
            f"{path}: the home folder is not known. Set HOME, or name the whole path; "
            "SPY_BENCH_HOME names the folder for caches and data."
        ) from error


def build_once(folder: Path, write: Callable[[Path], object]) -> Path:
    """Build a folder at first use; it is either complete or absent. Safe for several processes.

    Args:
        folder: The folder.
        write: Fills an empty folder, which is then renamed to `folder`.

    Raises:
        OSError: the folder cannot be written.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        write(temporary)
        temporary.replace(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
