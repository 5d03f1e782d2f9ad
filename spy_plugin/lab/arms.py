"""Arms: the runs of a lab that differ by their seed only.

An arm is a method, or a method with a `prefix_sharing` other than that of the ready settings:
"nca_priv", "nca_priv-row".
"""

from __future__ import annotations

from typing import TypeAlias

from spy_plugin.lab import PREFIX_SHARING

Arm: TypeAlias = str

BASE = "base"

TITLES: dict[str, str] = {
    BASE: "Base",
    "sft": "SFT",
    "dpo": "DPO",
    "nca": "NCA",
    "nca_priv": "NCA-P",
}
"""Titles of the methods, in the order of the rows."""


def arm_of(method: str, prefix_sharing: str | None) -> Arm:
    """The arm of a method; `prefix_sharing` is None for the base and SFT."""
    ready = prefix_sharing in (None, PREFIX_SHARING[0])
    return method if ready else f"{method}-{prefix_sharing}"


def method_of(arm: Arm) -> str:
    """The method of an arm."""
    return arm.partition("-")[0]


def sharing_of(arm: Arm) -> str:
    """The `prefix_sharing` of an arm; empty for that of the ready settings."""
    return arm.partition("-")[2]


def title(arm: Arm) -> str:
    """Title of an arm, for instance "NCA-P, row"."""
    sharing = sharing_of(arm)
    return TITLES[method_of(arm)] + (f", {sharing}" if sharing else "")
