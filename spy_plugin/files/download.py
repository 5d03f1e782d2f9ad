"""Download a large file over HTTP: resumable, with progress, always with verified TLS."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from spy_plugin.errors import SpyBenchError, system_reason
from spy_plugin.files.archives import check_room
from spy_plugin.files.writing import write_atomically

logger = logging.getLogger(__name__)

HOSTS_WITHOUT_TLS = ("vlmeval",)
"""Importing one of these turns certificate verification off for the whole process."""

ATTEMPTS = 6
"""Consecutive attempts without any data before giving up."""
TIMEOUT = 60.0
"""Seconds to wait for data."""
_BLOCK = 1 << 20
_LATER = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(SpyBenchError):
    """A file could not be downloaded."""


class _TryAgain(Exception):
    """A temporary failure."""

    def __init__(self, reason: object, wait: float = 0.0) -> None:
        super().__init__(str(reason))
        self.wait = wait


def is_url(text: str) -> bool:
    """Return whether a source is a URL and not a path."""
    return text.lower().startswith(("http://", "https://"))


def file_name(url: str) -> str:
    """Return the file name for a URL, always the same, so that a later run finds the file.

    Raises:
        DownloadError: the URL is not valid.
    """
    try:
        path = urlsplit(url).path
    except ValueError as error:
        raise _not_valid(url, error) from error
    last = re.sub(r"[^\w.+-]+", "_", unquote(path.rsplit("/", 1)[-1]), flags=re.ASCII)
    return f"{hashlib.sha256(url.encode()).hexdigest()[:8]}-{last[-100:] or 'download'}"


def download(url: str, folder: Path) -> Path:
    """Download `url` into `folder`; an interrupted download resumes.

    Returns:
        The complete file. It is not downloaded again if an earlier run completed it.

    Raises:
        DownloadError: the URL is not valid, the server refuses, or `ATTEMPTS` attempts failed; the
            data received so far are kept for the next run.
        SpyBenchError: the disk is too full or cannot be written, or this process does not verify
            TLS.
    """
    _check_process()
    target = folder / file_name(url)
    if target.is_file():
        return target
    with _writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    part = _Part(url, target.with_name(target.name + ".part"))
    try:
        _fetch_patiently(part)
    except KeyboardInterrupt:  # also while it waits for the next attempt
        if kept := part.resumable:
            logger.warning(
                "%d bytes are kept in %s; the same command resumes the download", kept, part.path
            )
        raise
    part.finish(target)
    return target


def _fetch_patiently(part: _Part) -> None:
    """Send requests until the part is complete.

    Raises:
        DownloadError: the server refuses, or `ATTEMPTS` attempts failed.
    """
    failures = 0
    while True:
        before = part.size
        try:
            _fetch(part)
            return
        except _TryAgain as error:
            failures = 1 if part.size > before else failures + 1
            if failures >= ATTEMPTS:
                kept = f"; {part.resumable:,} bytes are kept" if part.resumable else ""
                raise DownloadError(
                    f"{part.url}: {error}{kept}. Run the same command again to "
                    f"{'resume' if kept else 'try again'}."
                ) from error
            wait = max(error.wait, min(2.0 ** (failures - 1), 30.0))
            logger.warning("%s: %s; retrying in %.0f s", part.url, error, wait)
            time.sleep(wait)


def _check_process() -> None:
    for host in HOSTS_WITHOUT_TLS:
        if host in sys.modules:
            raise SpyBenchError(
                f"this process has imported {host}, which turns TLS verification off, so it must "
                "not download. Run `spy-bench data prepare` first."
            )


@dataclass
class _Part:
    """A partial download, and what the server said about the file."""

    url: str
    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def resumable(self) -> int:
        """The bytes that a later request need not bring: none if nothing tells their version."""
        return self.size if self.facts().get("validator") else 0

    @property
    def _facts_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def facts(self) -> dict[str, Any]:
        """Return what `note` stored of an earlier response; empty if there was none."""
        try:
            facts = json.loads(self._facts_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and facts.get("url") == self.url else {}

    def note(self, validator: str, total: int | None) -> None:
        facts = {"url": self.url, "validator": validator, "total": total}
        write_atomically(self._facts_path, json.dumps(facts))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        self.path.replace(target)
        self._facts_path.unlink(missing_ok=True)


def _fetch(part: _Part) -> None:
    """Send one request: append to the part, or restart if the server's file has changed."""
    facts, start = part.facts(), part.size
    validator = facts.get("validator") or ""
    headers = {"User-Agent": "spy-bench", "Accept-Encoding": "identity"}
    if start and validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        with _opener().open(
            urllib.request.Request(part.url, headers=headers), timeout=TIMEOUT
        ) as r:
            _receive(part, r, r.status, r.headers, start)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file: it has changed
            part.remove()
            raise _TryAgain("the file has changed; starting over") from error
        if error.code in _LATER:
            raise _TryAgain(f"HTTP {error.code}", _retry_after(error.headers)) from error
        raise DownloadError(
            f"{part.url}: HTTP {error.code} {error.reason}. Check the URL in a browser, or "
            "download the file yourself and give its path."
        ) from error
    except (ValueError, http.client.InvalidURL) as error:  # its own, or where it redirects to
        raise _not_valid(part.url, error) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{part.url}: the server's certificate is not trusted ({reason.verify_message}). "
                "Download the file yourself and give its path."
            ) from error
        raise _TryAgain(reason) from error


def _not_valid(url: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"{url} is not a valid URL, or redirects to one that is not ({error}). Check the URL in a "
        "browser, or download the file yourself and give its path."
    )


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Tell a disk that fails from a server that fails.

    Raises:
        SpyBenchError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise SpyBenchError(
            f"{folder}: the download cannot be written ({system_reason(error)}). Free some "
            "space, or set SPY_BENCH_HOME to a folder that you may write to, and run the same "
            "command again."
        ) from error


def _receive(
    part: _Part, response: http.client.HTTPResponse, status: int, headers: Message, start: int
) -> None:
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    if headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(
            f"{part.url} is a web page, not a file. Open it in a browser, save the file, and give "
            "its path."
        )
    if status == 206:
        _check_range(part, headers, start)
    else:
        start = 0
    length = _number(headers.get("Content-Length", ""))
    total = None if length is None else start + length
    folder = part.path.parent
    check_room(folder, length or 0)
    with _writing_to(folder):
        file = part.path.open("ab" if start else "wb")
    bar = tqdm(
        total=total, initial=start, unit="B", unit_scale=True, desc=part.path.stem, disable=None
    )
    with file, logging_redirect_tqdm(), bar:
        with _writing_to(folder):
            part.note(_validator(headers), total)  # once what was of another version is gone
        while block := response.read1(_BLOCK):  # what is there, so that a slow one is kept
            check_room(
                folder, len(block)
            )  # others fill the disk, too, and the length may be unknown
            with _writing_to(folder):
                file.write(block)
                file.flush()
            bar.update(len(block))
    if total is not None and part.size != total:
        raise _TryAgain(f"the connection ended at {part.size:,} of {total:,} bytes")


def _check_range(part: _Part, headers: Message, start: int) -> None:
    if not headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.remove()
        raise _TryAgain("the server sent another range than requested; starting over")


def _number(text: str) -> int | None:
    """Return the whole number in a header, or None for anything else."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _validator(headers: Message) -> str:
    """Return what identifies the file's version: a strong validator (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _retry_after(headers: Message) -> float:
    return min(_number(headers.get("Retry-After", "")) or 0, 60)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to another scheme."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise DownloadError(
                f"{req.full_url} redirects to {newurl}, which is not https. Download the file "
                "yourself and give its path."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Explicit, since a library may have replaced the default context by one without verification.
    context = ssl.create_default_context()
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoDowngrade)
