"""Propose scores to a model on the Hugging Face hub, as a pull request."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.errors import SpyBenchError
from spy_plugin.models.redact import redact
from spy_plugin.sharing.model_folder import CARD, ENTRIES, update_folder

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry, HfApi

TOKEN = "HF_TOKEN"
ENDPOINT = "HF_ENDPOINT"

_TITLE = "Add SPY-Bench results"
_TEXT = (
    "Scores of SPY-Bench, personalized privacy of vision-language models, computed by spy-bench. "
    "Only entries of SPY-Bench are added."
)


def token_from_environment() -> str:
    """Return the hub's token.

    Raises:
        SpyBenchError: it is not set, or cannot be sent.
    """
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise SpyBenchError(
            f"there is no token for the hub. Set {TOKEN} to one that may open pull requests."
        )
    if not re.fullmatch(r"[!-~]+", token):
        raise SpyBenchError(f"{TOKEN} holds characters that no token has. Copy the token again.")
    return token


def open_pull_request(
    repo: str,
    results: Sequence[EvalResult],
    entries: Sequence[EvalResultEntry] = (),
    *,
    token: str,
    force: bool = False,
) -> str:
    """Merge scores with what the repository holds now, and open a pull request.

    Args:
        repo: ``OWNER/NAME`` of a model.

    Returns:
        The address of the pull request; empty if the repository has these scores already.

    Raises:
        DataError: a file there is broken, or holds another value and `force` is not set.
        SpyBenchError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=os.environ.get(ENDPOINT) or None, token=token)
    with tempfile.TemporaryDirectory() as temporary, _explained(repo, token):
        # The folder's name becomes the model's, if its card has none.
        folder = Path(temporary) / repo.rpartition("/")[2]
        revision = api.model_info(repo).sha
        for name in (CARD, ENTRIES):
            _fetch(api, repo, name, str(revision), folder)
        changed = update_folder(folder, results, entries, force=force)
        if not changed:
            return ""
        additions = [
            CommitOperationAdd(path.relative_to(folder).as_posix(), path.read_bytes())
            for path in changed
        ]
        commit = api.create_commit(
            repo,
            additions,
            commit_message=_TITLE,
            commit_description=_TEXT,
            create_pr=True,
            parent_commit=revision,
        )
        return commit.pr_url or ""


def _fetch(api: HfApi, repo: str, name: str, revision: str, folder: Path) -> None:
    """Fetch a file of the repository, if it has it."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        api.hf_hub_download(repo, name, revision=revision, local_dir=folder)
    except EntryNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _explained(repo: str, token: str) -> Iterator[None]:
    """Say what the hub refused, without the token."""
    try:
        yield
    except SpyBenchError:
        raise
    except Exception as error:  # noqa: BLE001
        # Of any kind: which HTTP client raises it depends on the library's version, and a traceback
        # could quote the token.
        reason = redact(str(error), [token]).rstrip(".")
        raise SpyBenchError(
            f"no pull request to {repo}: {reason}. Check the name, the token's rights and the "
            "connection, and run again."
        ) from None
