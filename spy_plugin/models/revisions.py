"""Models with a pinned revision: `NAME@REVISION`."""

from __future__ import annotations

from pathlib import Path


def split_revision(model: str) -> tuple[str, str]:
    """Return the name of a model and its revision, empty if none is pinned.

    A folder whose own name holds an ``@`` is a name without a revision.
    """
    name, at, revision = model.rpartition("@")
    if not at or not name or Path(model).exists():
        return model, ""
    return name, revision
