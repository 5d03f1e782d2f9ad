"""Whether a server can be reached, asked before hours of work depend on it."""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from http.client import HTTPException

logger = logging.getLogger(__name__)

_SECONDS = 15
"""Time in which a server must answer at all."""


def why_unreachable(url: str) -> str:
    """Ask a server for the head of a file, through the proxies of the environment.

    Returns:
        Why no server answers; empty if one does, whatever it says.
    """
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=_SECONDS):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, HTTPException, ValueError) as error:  # ValueError: not a URL
        logger.debug("%s cannot be reached", url, exc_info=error)
        return str(getattr(error, "reason", error))
