"""The packages that our extras want: which are installed, and in versions that the tests run."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from spy_plugin.registry.catalog import hosts, tested_versions

CORE = "core"
"""What is installed without any extra."""

State = Literal["tested", "untested", "too old", "missing"]


@dataclass(frozen=True)
class Package:
    """A distribution that one of our extras wants.

    Attributes:
        wanted: The version as our metadata has it, for example ``>=1.10``.
        version: Installed; empty if it is not.
        tested: Versions that the tests run; empty if none is known.
    """

    name: str
    wanted: str
    version: str
    tested: tuple[str, ...]
    state: State


def requirements() -> dict[str, list[Package]]:
    """Extra -> its packages, ``core`` first, from our own metadata, for this platform."""
    found: dict[str, dict[str, Package]] = {CORE: {}}
    for line in metadata.requires("spy-bench") or ():
        need, _, marker = line.partition(";")
        on = re.search(r'platform_system\s*==\s*"(\w+)"', marker)
        if on and on[1] != platform.system():
            continue
        extra = re.search(r'extra\s*==\s*"([\w-]+)"', marker)
        name, wanted = re.match(r"([\w.-]+)\s*(.*?)\s*$", need).groups()  # type: ignore[union-attr]
        package = _package(name, wanted)
        found.setdefault(extra[1] if extra else CORE, {})[name] = package
    return {extra: list(packages.values()) for extra, packages in found.items()}


def _package(name: str, wanted: str) -> Package:
    others = next((host.also_as for host in hosts().values() if host.distribution == name), ())
    version = next(filter(None, map(version_of, (name, *others))), "")
    tested = tested_versions().get(_canonical(name), ())
    state: State = "untested"
    if not version:
        state = "missing"
    elif _numbers(version) < _numbers(wanted):
        state = "too old"
    elif version.split("+")[0] in tested:
        state = "tested"
    return Package(name, wanted, version, tested, state)


def version_of(name: str) -> str:
    """Installed version of a distribution, empty if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(text: str) -> tuple[int, ...]:
    """The release number of a version or of a ``>=`` requirement; () for none."""
    found = re.search(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def installed(extra: str, packages: list[Package]) -> bool:
    """Whether the package that gives an extra its name is there."""
    host = next((h.distribution for h in hosts().values() if h.extra == extra), "")
    main = {"train": "trl"}.get(extra, host)
    return any(package.name == main and package.version for package in packages)
