"""Whether the host can get the data of MMMU and others, asked before it loads a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.reachable import why_unreachable
from spy_plugin.hosts.vlmeval.names import VARIANTS

_MIRROR = ("huggingface.co", "hf-mirror.com")
"""A server, and the one that the host tries after it."""


def check_general_data(datasets: Iterable[str]) -> None:
    """Refuse data sets of the host that are neither on this machine nor within reach.

    The host downloads a table at first use, after it has loaded the model. Data sets whose file
    the host does not name are left to it.

    Args:
        datasets: The host's names; ours are skipped.

    Raises:
        SpyBenchError: a table is missing and its server cannot be reached; says what to do.
    """
    reached: dict[str, str] = {}
    for name in datasets:
        url = "" if name in VARIANTS else _address(name)
        if not url or _is_here(name, url):
            continue
        server = url.split("/")[2]
        if server not in reached:
            reached[server] = _why_unreachable(url)
        if reached[server]:
            raise SpyBenchError(
                f"the data of {name} are missing: {_folder() / name}.tsv does not exist, and "
                f"{server}, from which VLMEvalKit downloads it, cannot be reached "
                f"({reached[server]}). Copy the file there from a machine with a network (the "
                f"variable LMUData names another folder), or leave {name} out of --data."
            )


def _address(dataset: str) -> str:
    """Return where the host downloads a data set from; empty if it does not say."""
    from vlmeval.dataset import DATASET_CLASSES

    for kind in DATASET_CLASSES:
        url = (getattr(kind, "DATASET_URL", None) or {}).get(dataset)
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            return url
    return ""


def _folder() -> Path:
    from vlmeval.smp import LMUDataRoot

    return Path(LMUDataRoot())


def _is_here(dataset: str, url: str) -> bool:
    """Return whether the host finds the table, also under the name that it had in the past."""
    return any((_folder() / name).exists() for name in (f"{dataset}.tsv", url.split("/")[-1]))


def _why_unreachable(url: str) -> str:
    """Return why neither a server nor its mirror answers; empty if one does."""
    addresses = dict.fromkeys((url, url.replace(*_MIRROR)))
    reasons = [why_unreachable(address) for address in addresses]
    return reasons[0] if all(reasons) else ""
