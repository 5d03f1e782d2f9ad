"""The version of a host that runs here, and whether the tests run it."""

from __future__ import annotations

import logging
from functools import cache

from spy_plugin.registry.catalog import hosts
from spy_plugin.registry.packages import version_of

logger = logging.getLogger(__name__)


def host_version(name: str) -> str:
    """Return the installed version of a host of the registry; empty if none is installed."""
    host = hosts()[name]
    return next(filter(None, map(version_of, (host.distribution, *host.also_as))), "")


@cache
def warn_if_untested(name: str) -> None:
    """Log, once, that the installed version of a host is not one that the tests run."""
    host, version = hosts()[name], host_version(name)
    if version and version not in host.tested:
        logger.warning(
            "%s %s is not a version that SPY-Bench was tested with (%s)",
            host.display_name,
            version,
            ", ".join(host.tested),
        )
