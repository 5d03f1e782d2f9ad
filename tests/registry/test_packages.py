"""Requirements of our metadata become packages with a state, by extra and for this platform."""

from __future__ import annotations

from email.message import Message
from importlib import metadata

import pytest

from spy_plugin.registry import packages
from spy_plugin.registry.packages import CORE, requirements

REQUIREMENTS = (
    "plain>=1.5",
    'elsewhere>=1; platform_system == "Nowhere"',
    'both>=1,<3; extra == "train"',
    'windows-only; platform_system == "Nowhere" and extra == "train"',
    'here>=1; platform_system != "Nowhere" and extra == "train"',
    'ms-vlmeval>=0.0.20; extra == "vlmeval"',
)
INSTALLED = {"plain": "1.10", "both": "3.0", "here": "2.0+cpu", "vlmeval": "0.0.20"}


@pytest.fixture(autouse=True)
def our_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    about = Message()
    for line in REQUIREMENTS:
        about["Requires-Dist"] = line
    for extra in ("train", "vlmeval", "empty"):
        about["Provides-Extra"] = extra

    def version(name: str) -> str:
        if name not in INSTALLED:
            raise metadata.PackageNotFoundError(name)
        return INSTALLED[name]

    monkeypatch.setattr(packages.metadata, "metadata", lambda name: about)
    monkeypatch.setattr(packages.metadata, "version", version)
    monkeypatch.setattr(packages, "tested_versions", lambda: {"here": ("2.0",)})


def test_each_extra_has_its_own_packages_for_this_platform() -> None:
    names = {extra: [each.name for each in found] for extra, found in requirements().items()}
    assert names == {
        CORE: ["plain"],
        "train": ["both", "here"],
        "vlmeval": ["ms-vlmeval"],
        "empty": [],
    }
    assert next(iter(requirements())) == CORE


def test_versions_are_compared_as_versions() -> None:
    states = {each.name: each.state for found in requirements().values() for each in found}
    assert states == {
        "plain": "untested",  # 1.10 is newer than 1.5
        "both": "unsupported",
        "here": "tested",  # whatever the build
        "ms-vlmeval": "untested",  # under the other name of its distribution
    }


def test_a_package_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(INSTALLED, "plain")
    (package,) = requirements()[CORE]
    assert (package.version, package.state) == ("", "missing")
