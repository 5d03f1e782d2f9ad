"""NCA-P as a trainer of TRL: one config and one trainer, with TRL's way to run a batch."""

from __future__ import annotations

from trl_ext.nca_priv.nca_priv_config import NCAPrivConfig
from trl_ext.nca_priv.nca_priv_trainer import NCAPrivTrainer

__all__ = ["NCAPrivConfig", "NCAPrivTrainer"]
