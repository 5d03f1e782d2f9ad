"""NCAPrivTrainer for TRL: preference training on both sides of a privacy instruction."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spy_plugin.compat.torchao import quiet_torchao

if TYPE_CHECKING:
    from trl_ext.prefix_sharing.config import NCAPrivConfig, PrefixDPOConfig
    from trl_ext.prefix_sharing.dpo_trainer import PrefixDPOTrainer
    from trl_ext.prefix_sharing.nca_priv_trainer import NCAPrivTrainer
    from trl_ext.spy_tune import load_spy_tune

__all__ = [
    "NCAPrivConfig",
    "NCAPrivTrainer",
    "PrefixDPOConfig",
    "PrefixDPOTrainer",
    "load_spy_tune",
]

quiet_torchao()  # every module here loads transformers

_HOMES = {
    "NCAPrivConfig": "trl_ext.prefix_sharing.config",
    "NCAPrivTrainer": "trl_ext.prefix_sharing.nca_priv_trainer",
    "PrefixDPOConfig": "trl_ext.prefix_sharing.config",
    "PrefixDPOTrainer": "trl_ext.prefix_sharing.dpo_trainer",
    "load_spy_tune": "trl_ext.spy_tune",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and TRL take seconds to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "load_spy_tune":
        from spy_plugin.compat.torchvision import declare_missing_ops
        from spy_plugin.compat.wandb import import_wandb_early

        import_wandb_early()
        declare_missing_ops()
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from spy_plugin.errors import MissingDependencyError

        missing = (error.name or "").partition(".")[0]
        if missing in ("accelerate", "datasets", "peft", "torch", "transformers", "trl"):
            raise MissingDependencyError(missing, "train") from error
        raise
