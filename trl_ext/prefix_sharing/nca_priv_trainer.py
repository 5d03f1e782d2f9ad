"""The public `NCAPrivTrainer`: that of `trl_ext.nca_priv` on shared prefixes."""

from __future__ import annotations

from trl_ext import nca_priv
from trl_ext.nca_priv.nca_priv_trainer import SIDES
from trl_ext.prefix_sharing.config import NCAPrivConfig
from trl_ext.prefix_sharing.trainer import PrefixSharingMixin


class NCAPrivTrainer(PrefixSharingMixin, nca_priv.NCAPrivTrainer):
    __doc__ = nca_priv.NCAPrivTrainer.__doc__

    _sides = SIDES
    _config_class = NCAPrivConfig
