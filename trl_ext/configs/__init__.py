"""Ready settings as YAML: the paper's for each method, smaller machines, accelerate files.

A script starts from its method's file, then takes each `--config` in turn, then the command line.
"""

from __future__ import annotations

from pathlib import Path

from spy_plugin.errors import SpyBenchError

HERE = Path(__file__).parent


def names(folder: str = "") -> list[str]:
    """Return the names of the ready settings (``folder="accelerate"``: of those for accelerate)."""
    return sorted(path.stem for path in (HERE / folder).glob("*.yaml"))


def find(name: str, folder: str = "") -> Path:
    """Return the file of that path, or the ready settings of that name.

    Raises:
        SpyBenchError: neither exists.
    """
    for path in (Path(name), HERE / folder / f"{name}.yaml"):
        if path.is_file():
            return path
    raise SpyBenchError(
        f"there is no settings file {name}. Give a file, or one of: {', '.join(names(folder))}."
    )
