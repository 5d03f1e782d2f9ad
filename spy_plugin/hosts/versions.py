"""The version of a host that runs here, and whether the tests run it.

A host may be installed, or run from a checkout: `--vlmevalkit DIR`, PYTHONPATH, `pip install -e`.
What is recorded is what Python imports, not an installed package beside it.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from spy_plugin.registry.catalog import hosts, version_of

logger = logging.getLogger(__name__)

_MARK = "+checkout"
_DIGITS = 12
_SECONDS = 20
_VERSION = re.compile(r"""^(?:__version__|version)\s*=\s*["']([^"']+)["']""", re.MULTILINE)


def host_version(name: str) -> str:
    """Return the version of a host of the registry that Python imports here.

    Returns:
        The version of the installed package; of a checkout its own version with the commit, as in
        ``0.2rc1+checkout.1a2b3c4d5e6f``, followed by ``.modified`` if tracked files differ from it;
        empty if there is neither.
    """
    host = hosts()[name]
    spec = find_spec(host.module)
    folder = Path(spec.origin).resolve().parent if spec and spec.origin else None
    known = (host.distribution, *host.also_as)
    if folder is None or any(_holds(distribution, folder) for distribution in known):
        return next(filter(None, map(version_of, known)), "")
    version = _declared_version(folder) or "unknown"
    commit = _commit(folder.parent)
    return f"{version}{_MARK}{'.' if commit else ''}{commit}"


@cache
def warn_if_untested(name: str) -> None:
    """Log, once, that the version of a host that runs here is not one that the tests run."""
    host, version = hosts()[name], host_version(name)
    if version and version not in host.tested:
        logger.warning(
            "%s %s is not a version that SPY-Bench was tested with (%s)",
            host.display_name,
            version,
            ", ".join(host.tested),
        )


def _holds(distribution: str, folder: Path) -> bool:
    """Whether an installed distribution put the folder of a package there itself."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return Path(str(found.locate_file(folder.name))).resolve() == folder


def _declared_version(package: Path) -> str:
    """Return the version that a checkout declares, in its package or its `pyproject.toml`."""
    for path in (package / "__init__.py", package.parent / "pyproject.toml"):
        if path.is_file():
            found = _VERSION.search(path.read_text(encoding="utf-8", errors="replace"))
            if found:
                return found[1]
    return ""


def _commit(root: Path) -> str:
    """Return the commit of a clone's root, marked if it was changed; empty for another folder."""
    head = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    lines = head.stdout.split("\n") if head and head.returncode == 0 else []
    if len(lines) < 2 or Path(lines[0]).resolve() != root.resolve():
        return ""
    changed = _git(root, "diff-index", "--quiet", "HEAD", "--")
    return lines[1][:_DIGITS] + (".modified" if changed and changed.returncode == 1 else "")


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str] | None:
    """Run git in a folder of whoever owns it; None if there is no git, or it takes too long."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *words]
    try:
        return subprocess.run(
            command, env=outer, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
