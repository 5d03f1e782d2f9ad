"""The packages that our extras require: which are installed, and whether their versions fit."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from spy_plugin.errors import SpyBenchError
from spy_plugin.registry.catalog import hosts, tested_versions, version_of

DISTRIBUTION = "spy-bench"
CORE = "core"
"""What is installed without any extra."""

DEVELOPERS = ("docs", "test", "dev")
"""Extras for people who work on SPY-Bench itself."""

State = Literal["tested", "untested", "unsupported", "missing"]


@dataclass(frozen=True)
class Package:
    """A distribution that one of our extras requires.

    Attributes:
        wanted: Version specifiers of our metadata, for example ``>=1.10``; may be empty.
        version: Installed version; empty if it is not installed.
        tested: Versions that the tests run with; empty if none is known.
        state: ``unsupported`` if `version` does not satisfy `wanted`.
    """

    name: str
    wanted: str
    version: str
    tested: tuple[str, ...]
    state: State


def requirements() -> dict[str, list[Package]]:
    """Map each extra, `CORE` first, to the packages that it requires on this platform.

    Raises:
        SpyBenchError: spy-bench is importable, but not installed.
    """
    try:
        about = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise SpyBenchError(
            "spy-bench is not installed, so its requirements are unknown. "
            "Install it from its folder: pip install ."
        ) from error
    wanted = [Requirement(line) for line in about.get_all("Requires-Dist") or ()]
    found = {CORE: [_package(each) for each in wanted if _applies(each, "")]}
    for extra in about.get_all("Provides-Extra") or ():
        added = [each for each in wanted if _applies(each, extra) and not _applies(each, "")]
        found[extra] = [_package(each) for each in added]
    return found


def installed(extra: str, packages: list[Package]) -> bool:
    """Whether the package that an extra is for, such as TRL for ``train``, is installed.

    An extra that is for no single package is installed if all of its packages are.
    """
    names = {host.extra: host.distribution for host in hosts().values()} | {"train": "trl"}
    if extra not in names:
        return bool(packages) and all(package.version for package in packages)
    return any(package.name == names[extra] and package.version for package in packages)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _package(requirement: Requirement) -> Package:
    name = requirement.name
    others = next((host.also_as for host in hosts().values() if host.distribution == name), ())
    version = next(filter(None, map(version_of, (name, *others))), "")
    tested = tested_versions().get(canonicalize_name(name), ())
    state = _state(version, requirement.specifier, tested)
    return Package(name, str(requirement.specifier), version, tested, state)


def _state(version: str, wanted: SpecifierSet, tested: tuple[str, ...]) -> State:
    if not version:
        return "missing"
    try:
        number = Version(version)
    except InvalidVersion:  # a version of somebody's own, which cannot be compared
        return "untested"
    if not wanted.contains(number, prereleases=True):
        return "unsupported"
    return "tested" if number.public in tested else "untested"
