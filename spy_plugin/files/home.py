"""The folder in which this package keeps data for its user: pictures, downloads, caches."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from spy_plugin.errors import SpyBenchError, system_reason

_WHOLE_HOME = "Set HOME, or name the whole folder for caches and data in SPY_BENCH_HOME."


def home() -> Path:
    """Return ``$SPY_BENCH_HOME`` if set, else ``spy-bench`` in the XDG cache folder.

    The folder may not exist yet. The XDG cache folder is ``$XDG_CACHE_HOME`` if that is an absolute
    path, else ``~/.cache`` (XDG Base Directory Specification 0.8).

    Raises:
        SpyBenchError: this user has no home folder.
    """
    own = os.environ.get("SPY_BENCH_HOME", "")
    if own:
        return expand(own, _WHOLE_HOME).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else expand("~/.cache", _WHOLE_HOME)) / "spy-bench"


def expand(path: str | Path, remedy: str = "Set HOME, or name the whole path.") -> Path:
    """Return a path with the user's home folder in place of ``~``.

    Args:
        remedy: What to do where that folder is not known.

    Raises:
        SpyBenchError: there is no such user, or this one has no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise SpyBenchError(f"{path}: the home folder is not known. {remedy}") from error


def system_problem(error: OSError) -> str:
    """Say in one line what the system refused, and what to do."""
    place = error.filename2 or error.filename
    what = system_reason(error)
    remedy = "Check the path, its permissions and the room on its disk"
    if not isinstance(place, (str, bytes, os.PathLike)):
        return f"{what}. {remedy}."
    where = os.fsdecode(place)
    if concerns_home(where):
        remedy += "; SPY_BENCH_HOME names the folder for caches and data"
    return f"{where}: {what}. {remedy}."


def concerns_home(place: str | Path) -> bool:
    """Whether a path lies in `home`, or is what keeps that from being made.

    Only then does it help to name another folder with SPY_BENCH_HOME.
    """
    path = Path(place).absolute()
    try:
        ours = home()
    except SpyBenchError:
        return False
    return path.is_relative_to(ours) or (ours.is_relative_to(path) and not path.is_dir())


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
