"""What an earlier run left in the work folder, and what the host will do with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from spy_plugin.hosts.vlmeval.predictions import prediction_suffix

_UNFINISHED = ("_checkpoint.pkl", "_PREV.pkl")


def resumed_unasked(work_dir: Path, models: Iterable[str], datasets: Iterable[str]) -> list[Path]:
    """Return the prediction files that ms-vlmeval uses again without `--reuse`.

    They lie directly in the model's folder. A checkout keeps them in one folder per run, and leaves
    only links there.
    """
    suffix = prediction_suffix()
    paths = (
        work_dir / model / f"{model}_{dataset}.{suffix}"
        for model, dataset in product(models, datasets)
    )
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def has_answers(work_dir: Path, models: Iterable[str], datasets: Iterable[str]) -> bool:
    """Return whether there is anything that `--reuse` could resume."""
    return any(
        found
        for model, dataset in product(models, datasets)
        for found in _answers(work_dir / model, model, dataset)
    )


def _answers(folder: Path, model: str, dataset: str) -> Iterator[Path]:
    for suffix in (".xlsx", ".tsv", ".json", *_UNFINISHED):
        yield from folder.glob(f"**/{model}_{dataset}{suffix}")
    yield from folder.glob(f"**/[0-9]*_{dataset}.pkl")  # written by each process while it works
