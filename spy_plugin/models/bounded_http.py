"""An HTTP client for replies that are not trusted: bounded in size, and never sent elsewhere."""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from spy_plugin.models.base import ModelSetupError
from spy_plugin.models.redact import redact

if TYPE_CHECKING:
    import openai

MAX_BYTES = 8 * 1024 * 1024
"""Largest reply, unpacked. An answer of 512 tokens takes a few thousand bytes."""

HEADERS = {"Accept-Encoding": "gzip, deflate"}
"""To be sent along: the encodings that `bounded_client` can unpack piece by piece."""


_OTHER_PACKINGS = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")
"""Anything else, such as ``utf-8``, is a server's mistake and says nothing of the bytes."""

_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


class UnreadableReplyError(Exception):
    """The reply of a server is packed in another way than was asked for, or damaged."""


class ReplyTooLargeError(UnreadableReplyError):
    """The reply of a server exceeds `MAX_BYTES`."""

    def __init__(self) -> None:
        super().__init__(f"the reply exceeds the size limit of {MAX_BYTES:,} bytes")


def bounded_client(**options: Any) -> openai.DefaultAsyncHttpxClient:
    """Return a client of the openai package's own HTTP library that reads replies with a bound.

    It does not follow redirects: they would carry headers with keys to another host.

    Raises:
        ModelSetupError: the environment names a proxy or certificates that cannot be used.
    """
    with _readable_environment():
        return _kind()(follow_redirects=False, **options)


def sync_client() -> openai.DefaultHttpxClient:
    """Return a client of that library that does not follow redirects either.

    Raises:
        ModelSetupError: as `bounded_client`.
    """
    import openai

    with _readable_environment():
        return openai.DefaultHttpxClient(follow_redirects=False)


@contextmanager
def _readable_environment() -> Iterator[None]:
    """Say which variables to check where the HTTP library cannot use what they hold.

    Raises:
        ModelSetupError: in place of the library's error, which may show a proxy's password.
    """
    try:
        yield
    except ImportError as error:
        raise ModelSetupError(
            f"a SOCKS proxy ({_given(_PROXIES, 'socks')}) takes one more package. Install it with "
            "pip install socksio, or unset the variable."
        ) from error
    except (ValueError, OSError) as error:
        names = _CERTIFICATES if isinstance(error, OSError) else _PROXIES
        raise ModelSetupError(
            f"the connection cannot be set up ({redact(str(error), ())}). Check {_given(names)}."
        ) from error


def _given(names: tuple[str, ...], begins: str = "") -> str:
    """Those of some variables that the environment holds, in either case."""
    either = (each for name in names for each in (name, name.lower()))
    found = [each for each in either if os.environ.get(each)]
    return ", ".join(each for each in found if os.environ[each].startswith(begins))


@cache
def _kind() -> type[openai.DefaultAsyncHttpxClient]:
    """The class, made when first needed, as importing openai takes a second."""
    import openai

    class BoundedClient(openai.DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            response = await super().send(request, stream=True, **options)
            try:
                encoding = response.headers.get("content-encoding", "")
                body = await _unpacked(response.aiter_raw(), encoding.strip().lower())
            finally:
                await response.aclose()
            headers = [
                (name, value)
                for name, value in response.headers.multi_items()
                if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ]
            return type(response)(
                response.status_code, headers=headers, content=body, request=request
            )

    return BoundedClient


async def _unpacked(pieces: AsyncIterator[bytes], encoding: str) -> bytes:
    """Read a body to its end.

    Raises:
        ReplyTooLargeError: it is larger than `MAX_BYTES`.
        UnreadableReplyError: it cannot be unpacked.
    """
    packed = encoding in ("gzip", "x-gzip", "deflate")
    if not packed and ("," in encoding or encoding in _OTHER_PACKINGS):
        raise UnreadableReplyError(f"the reply is packed as {encoding}, which was not asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # takes gzip and zlib, whichever it is
    found = bytearray()
    async for piece in pieces:
        if packed:
            try:
                piece = unpack.decompress(piece, MAX_BYTES + 1 - len(found))
            except zlib.error as error:
                raise UnreadableReplyError(f"the reply cannot be unpacked ({error})") from None
        found += piece
        if len(found) > MAX_BYTES:
            raise ReplyTooLargeError
    if packed and found and not unpack.eof:
        raise UnreadableReplyError("the reply cannot be unpacked (it is cut off)")
    return bytes(found)
