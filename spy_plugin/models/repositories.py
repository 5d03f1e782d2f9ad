"""Repositories of models: a pinned revision, `NAME@REVISION`, and code that they may run."""

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


def needs_trust(repository: str, option: str = "--trust-remote-code") -> str:
    """Say what it means that a model runs code of its repository, and what to do.

    Args:
        option: What allows it, in the host that runs the model.
    """
    return (
        f"{repository} runs Python code of its repository on this machine, with your rights. If "
        f"you trust it, add {option}; to run only code that you have seen, name its commit: "
        f"{split_revision(repository)[0]}@REVISION."
    )


def load_hint(problem: str, repository: str) -> str:
    """Say what to do about a model that a library cannot load."""
    if "trust_remote_code" in problem:
        return needs_trust(repository)
    return "Check the model and --engine-args."
