"""Find the folder that `image_path` is relative to, in whatever layout the pictures come."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_IN_A_CLONE = ("", "benchmark/data", "train/data")
"""Where the release's instructions put ``images/`` inside a clone."""


def find_root(folder: Path, image_path: str) -> Path | None:
    """Return the folder that `image_path` is relative to, searched at, in and above `folder`.

    A user may give the data root, a clone of the release, or the very folder of the pictures.
    """
    for place in _IN_A_CLONE:
        if (folder / place / image_path).is_file():
            return folder / place
    parents = PurePosixPath(image_path).parts[:-1]
    absolute = folder.absolute()
    for depth in range(1, len(parents) + 1):
        if absolute.parts[-depth:] != parents[:depth]:
            continue
        root = absolute.parents[depth - 1]
        if (root / image_path).is_file():
            return root
    return None


def move_below(unpacked: Path, image_path: str, root: Path) -> bool:
    """Move unpacked pictures so that `image_path` is relative to `root`, which is created.

    Archives hold ``test2017/x.jpg`` where the data say ``images/test2017/x.jpg``.

    Returns:
        False, and nothing moved, if the picture is not found under any part of its path.
    """
    parts = PurePosixPath(image_path).parts
    for place in _IN_A_CLONE:
        for depth in range(len(parts)):
            base = unpacked / place
            if (base / PurePosixPath(*parts[depth:])).is_file():
                target = root.joinpath(*parts[:depth])
                target.parent.mkdir(parents=True, exist_ok=True)
                base.rename(target)
                return True
    return False
